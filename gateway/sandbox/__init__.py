"""A local stand-in for web.whatsapp.com and for the phone that belongs to it.

It is good enough that the unmodified wa-js library runs on its page, and strict enough that it counts
every stanza it is sent. It imports nothing of the rest of the gateway.
"""

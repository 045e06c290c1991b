"""`gateway doctor`: what could keep the gateway from working, each as a finding that says what to do. Looks, and changes nothing."""

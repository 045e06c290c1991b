"""Makes the pictures of the API's docs and of the sandbox's phone anew, from a real run: `make screenshots`.

python tests/screenshots/pages.py docs/images
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))

from camera import shoot
from gateway_rig import Gateway

TALK = {
    "4915550001": ["Your parcel is here", "It is at the front desk until 6 pm"],
    "4915550002": ["Your appointment is tomorrow at 10:30"],
    "4915550003": ["Invoice 4711 is attached to your account", "Thank you for your payment"],
}


def main(images: Path) -> None:
    with Gateway() as gateway:
        gateway.link()
        ids = [gateway.send(text, to) for to, texts in TALK.items() for text in texts]
        for id_ in ids:
            gateway.sent(id_)
        gateway.sandbox.post("/control/incoming", {"from": "4915550001", "type": "text", "text": "Great, I will come at noon"})
        shoot(f"{gateway.sandbox.base}/phone", images / "phone.png", 1280, 800, shows="document.body.innerText.includes('come at noon')")
        drawn = "document.body.innerText.includes('/api/messages/batch')"
        shoot(f"{gateway.api.base}/api/docs", images / "api-docs.png", 1280, 900, shows=drawn)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

# An MCP server that knows who is calling, and has no OAuth code: a calculator that remembers each user's sums.
# Run it with Python 3.11 or newer: pip install -r requirements.txt && python server.py
import json
import os
import urllib.request

from fastmcp import FastMCP
from fastmcp.server.dependencies import get_http_headers
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet

# The public URL of the gateway, and the URL at which it serves this server.
GATEWAY = os.environ.get("GATEWAY", "http://localhost:8080")
AUDIENCE = os.environ.get("AUDIENCE", f"{GATEWAY}/notes/mcp")

claims_of_identity = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": GATEWAY},
    aud={"essential": True, "value": AUDIENCE},
    exp={"essential": True},
)


class Keys:
    """The gateway's keys, fetched again when one is not known."""

    def __init__(self):
        self.known = KeySet([])

    def fetch(self):
        with urllib.request.urlopen(f"{GATEWAY}/oauth/jwks", timeout=5) as answer:
            self.known = KeySet.import_key_set(json.load(answer))

    def decode(self, assertion: str):
        try:
            return jwt.decode(assertion, self.known, algorithms=["ES256"])
        except InvalidKeyIdError:
            self.fetch()
            return jwt.decode(assertion, self.known, algorithms=["ES256"])


keys = Keys()


def user() -> dict:
    """Who is calling, as the gateway signed it. Raises for everybody who does not come from there."""
    token = keys.decode(get_http_headers(include_all=True).get("x-mcp-identity", ""))
    if token.header.get("typ") != "mcp-identity+jwt":
        raise ValueError("not an identity assertion")
    claims_of_identity.validate(token.claims)
    return token.claims


server = FastMCP("calculator")
sums: dict[str, list[str]] = {}


@server.tool(annotations={"readOnlyHint": False, "destructiveHint": False})
def add(a: float, b: float) -> float:
    """Adds two numbers, and remembers the sum for you."""
    # `sub` is the only name of a user that never changes and that nobody else gets.
    sums.setdefault(user()["sub"], []).append(f"{a:g} + {b:g} = {a + b:g}")
    return a + b


@server.tool(annotations={"readOnlyHint": True})
def get_my_data() -> list[str]:
    """Your sums."""
    return sums.get(user()["sub"], [])


if __name__ == "__main__":
    server.run(transport="http", host="127.0.0.1", port=int(os.environ.get("PORT", "3001")), stateless_http=True)

# Short names for commands of Postern, for those who know them from a gateway with a justfile. Each prints what it runs.
# https://just.systems

compose := "docker compose -f examples/compose/compose.yaml"
postern := "node bin/postern.mjs"

# List these names
default:
    @just --list

# Install what the repository needs
setup:
    npm ci

# The network is made by `just up`
network-create:
    {{compose}} config --quiet

# The volume of Redis is made by `just up`
volumes-create:
    {{compose}} config --volumes

# Start two gateways, Redis and an MCP server
up:
    {{compose}} up --detach --build

# Stop them; their data stays
down:
    {{compose}} down

# Follow the logs of all services
logs:
    {{compose}} logs --follow

# Build and start one service anew: just rebuild postern-1
rebuild service:
    {{compose}} up --detach --build --force-recreate {{service}}

# The gateways, which are the authorization server as well
rebuild-auth:
    {{compose}} up --detach --build --force-recreate postern-1 postern-2

# The MCP server of the example
rebuild-mcp-fetch:
    {{compose}} up --detach --force-recreate everything

# There is no Traefik to rebuild: the gateways route by themselves
rebuild-traefik: rebuild-auth

# All tests
test:
    npm test

# All tests, and the list of longer proofs
test-all:
    npm test
    npm run prove

# All tests, each with its name
test-verbose:
    npm test -- --reporter=verbose

# All tests, with the raw coverage of V8 in ./coverage
test-sidecar-coverage:
    NODE_V8_COVERAGE=coverage npm test

# Walk through discovery, registration and sign-in as a client does
test-oauth-flow *url:
    {{postern}} doctor {{url}}

# The conformance suite of MCP
test-mcp-protocol:
    npm run prove conformance

# Real clients, Claude Code among them
test-claude-integration:
    npm run prove clients

# Generate the reference pages
docs-build:
    npm run docs

# Whether the gateway runs, and what it serves
check-health:
    {{postern}} status

# A root secret for .env
generate-jwt-secret:
    @node -e 'console.log("GATEWAY_JWT_SECRET=" + crypto.randomBytes(32).toString("base64url"))'

# Check the credentials of GitHub and of every other identity provider
generate-github-token:
    {{postern}} validate --connect

# A report of the logins of the last week, in ./reports
analyze-oauth-logs:
    mkdir -p reports
    {{postern}} flows report --since 7d > reports/oauth-analysis-$(date +%Y%m%d-%H%M%S).md

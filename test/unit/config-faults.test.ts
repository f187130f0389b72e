// Everything that can be wrong with a configuration, each at its line and column.
import { describe, expect, it } from 'vitest'
import { callbackPathOf } from '../../src/kit/urls.ts'
import { faultsOf, warningsOf } from './config-world.ts'

const secret = 'Vq3xT9zLw2Kp8Rb5Ny7Hc4Jd6Gf1Ms0A'
const publicly =
  'issuer: https://mcp.example.com\nlocal_users: [{ username: alex, password: correct-horse }]\n'
const service = (rest: string): string => `mcp_services:\n  a:\n    url: http://localhost:3001/mcp\n${rest}`

type Wanted = readonly [place: string, what: string]
/** Title, file, then place and key with the sentence, for every fault there is. */
type Row = readonly [string, string, ...Wanted[]]

const told = async (text: string, wanted: readonly Wanted[]): Promise<void> => {
  const faults = await faultsOf(text)
  expect(faults).toEqual(wanted.map(([place, what]) => `${place} – ${what}`))
}

describe('what cannot be read', () => {
  const rows: readonly Row[] = [
    [
      'a tab in the indentation',
      'cors:\n\tallow_origins: []\n',
      ['config.yaml:2:1', 'the indentation contains a tab; use spaces'],
    ],
    [
      'an open quote',
      'host: "local\nport: 1\n',
      [
        'config.yaml:3:1',
        'something is missing before this point: a closing quote, a comma, a colon, a space or a bracket',
      ],
    ],
    [
      'two colons on a line',
      'host: a: b\n',
      [
        'config.yaml:1:7',
        'there is a second ": " on this line; put the value in quotes, or start a new line',
      ],
    ],
    [
      'a value that starts with @',
      'host: @home\n',
      ['config.yaml:1:7', 'a value cannot start with this character; put it in quotes'],
    ],
    [
      'a variable inside brackets',
      'allowed_hosts: [${A}, b]\n',
      [
        'config.yaml:1:18',
        'something is missing before this point: a closing quote, a comma, a colon, a space or a bracket (put ${…} in quotes inside [ ] or { }, or where it contains ": " or " #")',
      ],
    ],
    [
      'bad indentation',
      'cors:\n  allow_credentials: true\n allow_methods: [GET]\n',
      ['config.yaml:3:1', 'the indentation does not match the lines above'],
    ],
    [
      'two documents',
      'port: 1\n---\nport: 2\n',
      ['config.yaml:2:1', 'a second document starts here (---); use a single document'],
    ],
    ['a tag', 'port: !number 1\n', ['config.yaml:1:7', 'tags (!name) are not supported']],
    [
      'a list instead of keys',
      '- port: 1\n',
      ['config.yaml:1:1', 'the file must be a mapping, e.g. port: 8080'],
    ],
    ['a bare word', 'port\n', ['config.yaml:1:1', 'the file must be a mapping, e.g. port: 8080']],
    [
      'a wrong escape',
      'host: "a\\q"\n',
      [
        'config.yaml:1:9',
        'this escape sequence is not valid in double quotes; use single quotes, or write \\\\ for a backslash',
      ],
    ],
    ['too deep a nesting', `a: ${'['.repeat(3000)}`, ['config.yaml:1:', '']],
  ]
  for (const [title, text, [place, part] = ['', '']] of rows) {
    it(title, async () => {
      const faults = await faultsOf(text)
      expect(faults).toHaveLength(1)
      expect(faults[0]?.slice(0, place.length)).toBe(place)
      expect(faults[0]).toContain(part)
    })
  }
})

describe('what is written wrongly', () => {
  const rows: readonly Row[] = [
    ['an unknown key', 'prot: 1\n', ['config.yaml:1:1 prot', 'is not a known setting; did you mean "port"?']],
    [
      'an unknown key in capitals',
      'sessionSecret: x\n',
      ['config.yaml:1:1 sessionSecret', 'is not a known setting; did you mean "session_secret"?'],
    ],
    [
      'a key by another product’s name',
      'publicUrl: https://x.example\nservers: {}\n',
      ['config.yaml:1:1 publicUrl', 'is not a known setting; did you mean "issuer"?'],
      ['config.yaml:2:1 servers', 'is not a known setting; did you mean "mcp_services"?'],
    ],
    [
      'a key like nothing',
      'xyzzy: 1\n',
      [
        'config.yaml:1:1 xyzzy',
        'is not a known setting; known settings here: host, port, issuer, session_secret, previous_secrets, token_encryption_key, debug, log_level, allowed_hosts, trusted_proxies, protocol_versions, default_service, domain_root, base_domain, hosts, admins, auditors, admin_commands, cors, oauth_providers, single_provider, mcp_services, mcpServers, access, audit, flows, metrics, telemetry, workers, cluster, forward_auth, rate_limits, local_users, clients, service_accounts, assertion_issuers, branding, docs_url, personal_tokens, token_exchange, device, dpop, copy_redirect_url, client_metadata_documents, dynamic_registration, storage, keys, access_token_lifetime, refresh_token_lifetime, refresh_grace, refresh_late_repeat, code_lifetime, session_timeout, client_lifetime, key_rotation, heartbeat, max_concurrent_calls, max_open_streams',
      ],
    ],
    [
      'a misspelt required key, told once',
      'mcp_services:\n  a:\n    ulr: http://localhost:1\n',
      ['config.yaml:3:5 mcp_services.a.ulr', 'is not a known setting; did you mean "url"?'],
    ],
    [
      'a missing required key',
      'mcp_services:\n  a: { name: A }\n',
      ['config.yaml:2:3 mcp_services.a.url', 'is missing: set `url` or `command`'],
    ],
    [
      'a key written twice',
      'port: 1\nhost: localhost\nport: 2\n',
      ['config.yaml:3:1 port', 'is set twice; the first is on line 1'],
    ],
    [
      'a service written twice',
      `${service('')}  a:\n    url: http://localhost:2/mcp\n`,
      ['config.yaml:4:3 mcp_services.a', 'is set twice; the first is on line 2'],
    ],
    ['a number in quotes', 'port: "80"\n', ['config.yaml:1:7 port', 'must be a number; remove the quotes']],
    ['a number out of range', 'port: 70000\n', ['config.yaml:1:7 port', 'must be from 0 to 65535']],
    ['a fraction', 'port: 1.5\n', ['config.yaml:1:7 port', 'must be a whole number from 0 to 65535']],
    [
      'a lifetime of nothing [H-U11]',
      'access_token_lifetime: 0\n',
      ['config.yaml:1:24 access_token_lifetime', 'must be from 1m to 1d'],
    ],
    [
      'a negative lifetime [H-U11]',
      'refresh_token_lifetime: -1\n',
      ['config.yaml:1:25 refresh_token_lifetime', 'must be from 5m to 365d'],
    ],
    [
      'a lifetime of ten years [H-U11]',
      'refresh_token_lifetime: 315360000\n',
      ['config.yaml:1:25 refresh_token_lifetime', 'must be from 5m to 365d'],
    ],
    ['yes for true', 'debug: yes\n', ['config.yaml:1:8 debug', 'must be true or false']],
    [
      'a number for text',
      'oauth_providers:\n  google: { client_id: 12345 }\n',
      ['config.yaml:2:24 oauth_providers.google.client_id', 'must be text; put it in quotes'],
    ],
    [
      'text for a list',
      service('    scopes: read\n'),
      ['config.yaml:4:13 mcp_services.a.scopes', 'must be a list, e.g. ["one", "two"]'],
    ],
    [
      'an empty list of scopes',
      service('    scopes: []\n'),
      ['config.yaml:4:13 mcp_services.a.scopes', 'must have at least one entry'],
    ],
    [
      'a scope with a space',
      service('    scopes: ["read all"]\n'),
      [
        'config.yaml:4:14 mcp_services.a.scopes[0]',
        'must be one scope: printable ASCII without spaces, " or \\',
      ],
    ],
    ['a list for an object', 'cors: [a]\n', ['config.yaml:1:7 cors', 'must be a mapping']],
    [
      'a key without a value',
      'host:\nport: 1\n',
      ['config.yaml:1:6 host', 'has no value; set one, or remove the key'],
    ],
    [
      'a value that does not exist',
      service('    identity: { preset: minimum }\n'),
      [
        'config.yaml:4:25 mcp_services.a.identity.preset',
        'must be one of: all, profile, minimal, claims, context, none; found "minimum"; did you mean "minimal"?',
      ],
    ],
    [
      'no URL',
      'mcp_services:\n  a: { url: "localhost:3001" }\n',
      ['config.yaml:2:13 mcp_services.a.url', 'must be a full URL: http://, https://, ws:// or wss://'],
    ],
    [
      'an id with capitals',
      'mcp_services:\n  My Service: { url: "http://localhost:1/mcp" }\n',
      [
        'config.yaml:2:3 mcp_services["My Service"]',
        '"My Service" is not a valid name: use lower-case letters, digits, - and _ (at most 63 characters, starting with a letter or digit); did you mean "my-service"?',
      ],
    ],
    [
      'a variable that is not set',
      'port: ${THE_PORT}\n',
      [
        'config.yaml:1:7 port',
        'environment variable THE_PORT is not set: set it, or write ${THE_PORT:-default}',
      ],
    ],
    [
      'a variable that does not fit',
      'port: ${THE_PORT:-x}\n',
      ['config.yaml:1:7 port', 'must be a number (it comes from ${THE_PORT})'],
    ],
    [
      'an alias of nothing',
      'cors: *nothing\n',
      ['config.yaml:1:7 cors', 'refers to an anchor that is not defined above it'],
    ],
    [
      'a merge key with a word',
      'cors:\n  <<: word\n',
      ['config.yaml:2:7 cors["<<"]', 'must refer to a mapping, e.g. <<: *base'],
    ],
    [
      'an MCP revision that is none',
      'protocol_versions: [latest]\n',
      ['config.yaml:1:21 protocol_versions[0]', 'must be an MCP revision, e.g. "2025-11-25"'],
    ],
    [
      'an MCP revision that was never published',
      'protocol_versions: ["2025-06-18", "2025-06-19"]\n',
      [
        'config.yaml:1:35 protocol_versions[1]',
        '"2025-06-19" is not a supported MCP revision: use 2026-07-28, 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05',
      ],
    ],
    [
      'a wrong e-mail address',
      'local_users:\n  - { username: a, password: correct-horse, email: nobody }\n',
      ['config.yaml:2:52 local_users[0].email', 'must be an email address'],
    ],
  ]
  for (const [title, text, ...wanted] of rows) it(title, () => told(text, wanted))
})

describe('what would be unsafe', () => {
  const rows: readonly Row[] = [
    [
      'listening beyond loopback without a public URL',
      'host: 0.0.0.0\nlocal_users: [{ username: a, password: correct-horse }]\n',
      [
        'config.yaml:1:7 host',
        'makes the gateway reachable from other computers, so it needs a fixed public URL: set issuer (or --public-url), e.g. "https://mcp.example.com"',
      ],
    ],
    [
      'a public URL without TLS [H-U2]',
      publicly.replace('https', 'http'),
      [
        'config.yaml:1:9 issuer',
        'must use https to protect sign-ins and tokens: write "https://mcp.example.com" and put an HTTPS reverse proxy in front. On a home network, use a tunnel or a certificate from your own CA: see docs/guide/production.md#on-a-home-network',
      ],
    ],
    [
      'a public URL with a path [H-U2]',
      publicly.replace('.com', '.com/auth'),
      [
        'config.yaml:1:9 issuer',
        'must not have a path, because the gateway uses the whole host: write "https://mcp.example.com"',
      ],
    ],
    [
      'a public URL with a query [H-U2]',
      publicly.replace('.com', '.com?a=b'),
      ['config.yaml:1:9 issuer', 'must not have a query or a fragment: write "https://mcp.example.com"'],
    ],
    [
      'a public URL in capitals [H-U2]',
      publicly.replace('mcp', 'MCP'),
      ['config.yaml:1:9 issuer', 'must be written in its canonical form: "https://mcp.example.com"'],
    ],
    [
      'a public URL with its default port [H-U2]',
      publicly.replace('.com', '.com:443'),
      ['config.yaml:1:9 issuer', 'must be written in its canonical form: "https://mcp.example.com"'],
    ],
    [
      'a public URL with a password [H-U2]',
      publicly.replace('//', '//u:p@'),
      ['config.yaml:1:9 issuer', 'must not contain a username or password'],
    ],
    [
      'a sample secret [H-U1]',
      'session_secret: your-dev-secret-change-in-production\n',
      [
        'config.yaml:1:17 session_secret',
        'is a sample value from public documentation: set a random value (openssl rand -base64 32), or remove it to use a key generated in the state directory',
      ],
    ],
    [
      'a sample secret of the other document [H-U1]',
      'session_secret: your_jwt_secret_at_least_32_chars\n',
      [
        'config.yaml:1:17 session_secret',
        'is a sample value from public documentation: set a random value (openssl rand -base64 32), or remove it to use a key generated in the state directory',
      ],
    ],
    [
      'a short secret [H-U1]',
      'session_secret: Vq3xT9zLw2Kp8Rb5Ny7Hc4Jd6Gf1Ms0\n',
      [
        'config.yaml:1:17 session_secret',
        'is shorter than 32 characters: set a random value (openssl rand -base64 32), or remove it to use a key generated in the state directory',
      ],
    ],
    [
      'a secret of one letter [H-U1]',
      `session_secret: ${'x'.repeat(40)}\n`,
      [
        'config.yaml:1:17 session_secret',
        'repeats a few characters and is easy to guess: set a random value (openssl rand -base64 32), or remove it to use a key generated in the state directory',
      ],
    ],
    [
      'a sample secret with debug in public [H-U1]',
      `${publicly}debug: true\nsession_secret: change-me-change-me-change-me-now\n`,
      [
        'config.yaml:4:17 session_secret',
        'is a sample value from public documentation: set a random value (openssl rand -base64 32), or remove it to use a key generated in the state directory',
      ],
    ],
    [
      'a former secret that is known [H-U1]',
      `previous_secrets: [your-dev-secret-change-in-production]\n`,
      ['config.yaml:1:20 previous_secrets[0]', 'is a sample value from public documentation: remove it'],
    ],
    [
      'one secret for two purposes [H-U1]',
      `session_secret: ${secret}\nclients:\n  app: { name: App, redirect_uris: ["https://app.example/cb"], token_endpoint_auth_method: client_secret_basic, client_secret: ${secret} }\n`,
      [
        'config.yaml:3:128 clients.app.client_secret',
        'has the same value as session_secret: use a different secret for each purpose',
      ],
    ],
    [
      'a service called like an address of the gateway [H-U5]',
      'mcp_services:\n  token: { url: "http://localhost:1/mcp" }\n',
      [
        'config.yaml:2:3 mcp_services.token',
        'cannot be named "token": /token is one of the gateway’s own paths',
      ],
    ],
    [
      'a service called .well-known [H-U5]',
      'mcp_services:\n  .well-known: { url: "http://localhost:1/mcp" }\n',
      [
        'config.yaml:2:3 mcp_services[".well-known"]',
        '".well-known" is not a valid name: use lower-case letters, digits, - and _ (at most 63 characters, starting with a letter or digit); did you mean "well-known"?',
      ],
      [
        'config.yaml:2:3 mcp_services[".well-known"]',
        'cannot be named ".well-known": /.well-known is one of the gateway’s own paths',
      ],
    ],
    [
      'a service called .. [H-U5]',
      'mcp_services:\n  "..": { url: "http://localhost:1/mcp" }\n',
      [
        'config.yaml:2:3 mcp_services[".."]',
        '".." is not a valid name: use lower-case letters, digits, - and _ (at most 63 characters, starting with a letter or digit)',
      ],
    ],
    [
      'a service that is the gateway itself',
      'mcp_services:\n  a: { url: "http://127.0.0.1:8080/mcp" }\n',
      [
        'config.yaml:2:13 mcp_services.a.url',
        'points back to this gateway, so calls would loop: set the URL of the MCP server itself',
      ],
    ],
    [
      'a service that is the gateway itself by another name',
      'issuer: http://localhost:9000\nport: 9000\nmcp_services:\n  a: { url: "http://[::1]:9000/mcp" }\n  b: { url: "http://localhost:8080/mcp" }\n',
      [
        'config.yaml:4:13 mcp_services.a.url',
        'points back to this gateway, so calls would loop: set the URL of the MCP server itself',
      ],
    ],
    [
      'a password in a service’s URL',
      'mcp_services:\n  a: { url: "http://u:p@localhost:1/mcp" }\n',
      ['config.yaml:2:13 mcp_services.a.url', 'must not contain a username or password'],
    ],
    [
      'a provider that does not exist',
      service('    oauth_provider: gogle\noauth_providers: { google: { client_id: a } }\n'),
      [
        'config.yaml:4:21 mcp_services.a.oauth_provider',
        '"gogle" is not in oauth_providers (configured: google); did you mean "google"?',
      ],
    ],
    [
      'a provider on a list that does not exist, and the list beside one',
      service(
        '    oauth_provider: google\n    oauth_providers: [gogle]\noauth_providers: { google: { client_id: a } }\n',
      ),
      [
        'config.yaml:5:5 mcp_services.a.oauth_providers',
        'cannot be combined with `oauth_provider`: keep one of the two',
      ],
      [
        'config.yaml:5:23 mcp_services.a.oauth_providers[0]',
        '"gogle" is not in oauth_providers (configured: google); did you mean "google"?',
      ],
    ],
    [
      'a provider where there is none',
      service('    oauth_provider: google\n'),
      [
        'config.yaml:4:21 mcp_services.a.oauth_provider',
        '"google" is not in oauth_providers (none is configured)',
      ],
    ],
    [
      'a default service that does not exist',
      `default_service: b\n${service('')}`,
      ['config.yaml:1:18 default_service', '"b" is not in mcp_services; did you mean "a"?'],
    ],
    [
      'a provider of unknown issuer',
      'oauth_providers:\n  okta: { client_id: a }\n',
      [
        'config.yaml:2:3 oauth_providers.okta',
        'needs `issuer`, the URL below which the provider publishes /.well-known/openid-configuration; only `google` works without one',
      ],
    ],
    [
      'plain OAuth endpoints, and not all of them',
      'oauth_providers:\n  custom: { client_id: a, authorization_url: "https://x.example/a" }\n',
      [
        'config.yaml:2:3 oauth_providers.custom',
        'needs token_url and userinfo_url, because its type is oauth2',
      ],
    ],
    [
      'a provider without TLS',
      'oauth_providers:\n  work: { client_id: a, issuer: "http://login.example.com" }\n',
      [
        'config.yaml:2:33 oauth_providers.work.issuer',
        'must use https, because this server decides who users are. On a home network, use a certificate from your own CA: see docs/guide/production.md#on-a-home-network',
      ],
    ],
    [
      'a mock provider behind a public gateway [H-U12]',
      `${publicly}oauth_providers:\n  mock: { client_id: a, issuer: "http://localhost:4000" }\n`,
      [
        'config.yaml:4:33 oauth_providers.mock.issuer',
        'must use https: plain http on localhost is allowed only for a gateway on localhost',
      ],
    ],
    [
      'a provider that is asked for no identity',
      'oauth_providers:\n  google: { client_id: a, scopes: [email] }\n',
      [
        'config.yaml:2:35 oauth_providers.google.scopes',
        'must include "openid": without it the provider returns no ID token',
      ],
    ],
    [
      'everybody with an account at Google',
      'issuer: https://mcp.example.com\noauth_providers:\n  google: { client_id: a }\n',
      [
        'config.yaml:3:3 oauth_providers.google',
        'lets anyone with an account there sign in to this public gateway: set allowed_domains, allowed_emails or allowed_groups. If this is intended, set allowed_emails: ["*"]',
      ],
    ],
    [
      'everybody with an account at Microsoft',
      'issuer: https://mcp.example.com\noauth_providers:\n  entra: { issuer: "https://login.microsoftonline.com/common/v2.0", client_id: a }\n',
      [
        'config.yaml:3:3 oauth_providers.entra',
        'lets anyone with an account there sign in to this public gateway: set allowed_domains, allowed_emails or allowed_groups. If this is intended, set allowed_emails: ["*"]',
      ],
    ],
    [
      'Google under another id',
      'issuer: https://mcp.example.com\noauth_providers:\n  work: { issuer: "https://accounts.google.com/", client_id: a }\n',
      [
        'config.yaml:3:3 oauth_providers.work',
        'lets anyone with an account there sign in to this public gateway: set allowed_domains, allowed_emails or allowed_groups. If this is intended, set allowed_emails: ["*"]',
      ],
    ],
    [
      'a list of people one level too deep',
      'oauth_providers:\n  google: { client_id: a, extra_params: { allowed_domains: example.com } }\n',
      [
        'config.yaml:2:43 oauth_providers.google.extra_params.allowed_domains',
        'is a provider setting, not a parameter: move it to oauth_providers.google.allowed_domains',
      ],
    ],
    [
      'a public URL in a home network without https',
      'issuer: http://192.168.1.20:8080\nlocal_users: [{ username: a, password: correct-horse }]\n',
      [
        'config.yaml:1:9 issuer',
        'must use https to protect sign-ins and tokens: write "https://192.168.1.20:8080" and put an HTTPS reverse proxy in front. On a home network, use a tunnel or a certificate from your own CA: see docs/guide/production.md#on-a-home-network',
      ],
    ],
    [
      'an identity provider in a home network without https',
      'oauth_providers:\n  nas: { issuer: "http://nas.lan", client_id: a }\n',
      [
        'config.yaml:2:18 oauth_providers.nas.issuer',
        'must use https, because this server decides who users are. On a home network, use a certificate from your own CA: see docs/guide/production.md#on-a-home-network',
      ],
    ],
    [
      'a redirect URI in a home network without https',
      'clients:\n  app: { name: A, redirect_uris: ["http://192.168.1.20:5678/cb"] }\n',
      [
        'config.yaml:2:35 clients.app.redirect_uris[0]',
        'must use https; http is allowed only for localhost, 127.0.0.1 and [::1]. On a home network, serve the app over https with a tunnel or a certificate from your own CA: see docs/guide/production.md#on-a-home-network',
      ],
    ],
    [
      'a header of the gateway that callers may not send',
      service('    pass_headers: [X-Api-Key, authorization]\n'),
      [
        'config.yaml:4:31 mcp_services.a.pass_headers[1]',
        'cannot be set: the gateway or the protocol controls this header',
      ],
    ],
    [
      'an identity header that callers may not send',
      service('    pass_headers: [x-who]\n    identity: { headers: { X-Who: "${id}" } }\n'),
      [
        'config.yaml:4:20 mcp_services.a.pass_headers[0]',
        'is set by identity.headers, so it cannot be passed through: remove it from one of the two',
      ],
    ],
    [
      'a header name that is none',
      service('    pass_headers: ["X Key"]\n'),
      ['config.yaml:4:20 mcp_services.a.pass_headers[0]', 'must be a header name'],
    ],
    [
      'headers for a command',
      'mcp_services:\n  a:\n    command: node\n    pass_headers: [X-Key]\n',
      ['config.yaml:4:5 mcp_services.a.pass_headers', 'applies only to a service with `url`'],
    ],
    [
      'one header in two spellings',
      service('    identity: { headers: { X-Who: a, x-who: b } }\n'),
      [
        'config.yaml:4:38 mcp_services.a.identity.headers.x-who',
        'is the same header as "X-Who" above (header names are case-insensitive): keep one',
      ],
    ],
    [
      'one header from two keys',
      service(
        '    identity: { headers: { X-Who: "${id}" } }\n    upstream_auth: { type: static, headers: { x-who: b } }\n',
      ),
      [
        'config.yaml:4:28 mcp_services.a.identity.headers.X-Who',
        'is also set in upstream_auth.headers ("x-who"): keep one of the two',
      ],
    ],
    [
      'one fixed header in two spellings',
      service('    upstream_auth: { type: static, headers: { X-Key: a, x-KEY: b } }\n'),
      [
        'config.yaml:4:57 mcp_services.a.upstream_auth.headers.x-KEY',
        'is the same header as "X-Key" above (header names are case-insensitive): keep one',
      ],
    ],
    [
      'a header value beyond Latin-1',
      service('    upstream_auth: { type: static, headers: { X-Key: "mąka" } }\n'),
      [
        'config.yaml:4:54 mcp_services.a.upstream_auth.headers.X-Key',
        'must not contain characters outside Latin-1 (character 2 of the value): HTTP headers cannot carry them',
      ],
    ],
    [
      'a header value of two lines',
      service('    upstream_auth: { type: static, headers: { X-Key: "ab\\ncd" } }\n'),
      [
        'config.yaml:4:54 mcp_services.a.upstream_auth.headers.X-Key',
        'must not contain line breaks or other control characters (character 3 of the value)',
      ],
    ],
    [
      'a header value of spaces',
      service('    upstream_auth: { type: static, headers: { X-Key: "  " } }\n'),
      ['config.yaml:4:54 mcp_services.a.upstream_auth.headers.X-Key', 'must not consist of spaces only'],
    ],
    [
      'a token with its line end',
      service('    upstream_auth: { type: static, token: "abc\\n" }\n'),
      [
        'config.yaml:4:43 mcp_services.a.upstream_auth.token',
        'must not contain line breaks or other control characters (character 4 of the value)',
      ],
    ],
    [
      'a token of letters that no header holds',
      service('    upstream_auth: { type: static, token: "mąka" }\n'),
      [
        'config.yaml:4:43 mcp_services.a.upstream_auth.token',
        'must not contain characters outside Latin-1 (character 2 of the value): HTTP headers cannot carry them',
      ],
    ],
    [
      'a token of two words',
      service('    upstream_auth: { type: static, token: "Bearer abc" }\n'),
      [
        'config.yaml:4:43 mcp_services.a.upstream_auth.token',
        'must not contain spaces or non-ASCII characters: it is sent as Authorization: Bearer <token>',
      ],
    ],
    [
      'an identity header of two lines',
      service('    identity: { headers: { X-Who: "a\\nb" } }\n'),
      [
        'config.yaml:4:35 mcp_services.a.identity.headers.X-Who',
        'must not contain line breaks or other control characters',
      ],
    ],
    [
      'parameters that the sign-in sets',
      'oauth_providers:\n  google: { client_id: a, extra_params: { state: x } }\n',
      [
        'config.yaml:2:43 oauth_providers.google.extra_params.state',
        'cannot be set: the gateway sets this parameter itself',
      ],
    ],
    [
      'an empty allow-list',
      'oauth_providers:\n  google: { client_id: a, allowed_emails: [] }\n',
      ['config.yaml:2:43 oauth_providers.google.allowed_emails', 'must have at least one entry'],
    ],
    [
      'a domain among e-mail addresses',
      'oauth_providers:\n  google: { client_id: a, allowed_emails: [example.com], allowed_domains: ["@example.com"] }\n',
      [
        'config.yaml:2:44 oauth_providers.google.allowed_emails[0]',
        'must be an email address, or "*" for everyone; list whole domains in allowed_domains',
      ],
      [
        'config.yaml:2:76 oauth_providers.google.allowed_domains[0]',
        'must be a domain such as "example.com", without @, or "*" for any domain',
      ],
    ],
    [
      'nobody who could sign in to a public gateway [H-U12]',
      `issuer: https://mcp.example.com\n${service('')}`,
      [
        'config.yaml:1:9 issuer',
        'is public, but no sign-in method is configured: add oauth_providers or local_users (the built-in user exists on localhost only)',
      ],
    ],
    [
      'any origin with credentials',
      'cors:\n  allow_credentials: true\n',
      [
        'config.yaml:2:22 cors.allow_credentials',
        '"*" with allow_credentials: true would let any website act as the signed-in user: list the origins in cors.allow_origins, or set allow_credentials: false',
      ],
    ],
    [
      'patterns and null as origins',
      'cors:\n  allow_origins: ["https://*.example.com", "null", "https://a.example/", "app"]\n',
      [
        'config.yaml:2:19 cors.allow_origins[0]',
        'must be an exact origin or "*": patterns are not supported',
      ],
      [
        'config.yaml:2:44 cors.allow_origins[1]',
        'must not be "null": sandboxed pages and local files share that origin',
      ],
      [
        'config.yaml:2:52 cors.allow_origins[2]',
        'must match the Origin header of browsers: write "https://a.example"',
      ],
      [
        'config.yaml:2:74 cors.allow_origins[3]',
        'must be an origin with a scheme and host, e.g. "https://app.example.com"',
      ],
    ],
    [
      'everybody as a trusted proxy [H-U11]',
      'trusted_proxies: [0.0.0.0/0, "::/0", 10.0.0.0/8, 10.0.0.0/7, proxy, "::ffff:0:0/96", "10.0.0.1/"]\n',
      [
        'config.yaml:1:19 trusted_proxies[0]',
        'trusts too many addresses: list your proxies, in ranges no wider than /8',
      ],
      [
        'config.yaml:1:30 trusted_proxies[1]',
        'trusts too many addresses: list your proxies, in ranges no wider than /7',
      ],
      [
        'config.yaml:1:50 trusted_proxies[3]',
        'trusts too many addresses: list your proxies, in ranges no wider than /8',
      ],
      ['config.yaml:1:62 trusted_proxies[4]', 'must be an IP address or a CIDR range, e.g. "10.0.0.0/8"'],
      ['config.yaml:1:69 trusted_proxies[5]', 'must be written as an IPv4 address or range'],
      ['config.yaml:1:86 trusted_proxies[6]', 'must be an IP address or a CIDR range, e.g. "10.0.0.0/8"'],
    ],
    [
      'wildcard hosts',
      'allowed_hosts: ["*.example.com", "https://x.example", ok.example, "ok.example:8443"]\n',
      ['config.yaml:1:17 allowed_hosts[0]', 'must be an exact host: a wildcard would allow DNS rebinding'],
      ['config.yaml:1:34 allowed_hosts[1]', 'must be a host or host:port, without a scheme or path'],
    ],
    [
      'refresh tokens that end first [H-U11]',
      'access_token_lifetime: 7200\nrefresh_token_lifetime: 3600\n',
      [
        'config.yaml:2:25 refresh_token_lifetime',
        'makes refresh tokens (1h) expire before access tokens (2h): set refresh_token_lifetime to at least access_token_lifetime',
      ],
    ],
    [
      'a short and a common password',
      'local_users:\n  - { username: a, password: short }\n  - { username: b, password: password123 }\n  - { username: somebody, password: Somebody }\n',
      ['config.yaml:2:30 local_users[0].password', 'must be at least 8 characters long'],
      ['config.yaml:3:30 local_users[1].password', 'is too common: choose another'],
      ['config.yaml:4:37 local_users[2].password', 'must differ from the username'],
    ],
    [
      'a person without a password, and one with two',
      "local_users:\n  - { username: a }\n  - { username: b, password: correct-horse, password_hash: '$argon2id$v=19$m=1,t=1,p=1$YQ$YQ' }\n",
      ['config.yaml:2:5 local_users[0]', 'needs password_hash (see `postern hash-password`) or password'],
      [
        'config.yaml:3:5 local_users[1]',
        'has both password and password_hash: keep one, preferably password_hash',
      ],
    ],
    [
      'two people of one name',
      'local_users:\n  - { username: Alex, password: correct-horse }\n  - { username: alex, password: correct-donkey }\n',
      [
        'config.yaml:3:17 local_users[1].username',
        'is already the username of local_users[0] (usernames are case-insensitive)',
      ],
    ],
    [
      'redirect URIs that registration would refuse',
      'clients:\n  app: { name: App, redirect_uris: ["http://app.example/cb", "https://*.example/cb", "https://a.example/#x", "javascript:alert(1)", "http://localhost/cb", "cursor://x/cb"] }\n',
      [
        'config.yaml:2:37 clients.app.redirect_uris[0]',
        'must use https; http is allowed only for localhost, 127.0.0.1 and [::1]. On a home network, serve the app over https with a tunnel or a certificate from your own CA: see docs/guide/production.md#on-a-home-network',
      ],
      ['config.yaml:2:62 clients.app.redirect_uris[1]', 'must be exact: wildcards are not supported'],
      ['config.yaml:2:86 clients.app.redirect_uris[2]', 'must not have a fragment (RFC 6749 §3.1.2)'],
      ['config.yaml:2:110 clients.app.redirect_uris[3]', 'has a scheme that cannot be used for a redirect'],
    ],
    [
      'a client whose credentials do not fit',
      `clients:\n  a: { name: A, redirect_uris: ["https://a.example"], token_endpoint_auth_method: client_secret_post }\n  b: { name: B, redirect_uris: ["https://a.example"], client_secret: ${secret} }\n  c: { name: C, redirect_uris: ["https://a.example"], token_endpoint_auth_method: private_key_jwt }\n`,
      [
        'config.yaml:2:3 clients.a',
        'needs client_secret, because token_endpoint_auth_method is client_secret_post',
      ],
      [
        'config.yaml:3:55 clients.b.client_secret',
        'has no effect while token_endpoint_auth_method is none: set it to client_secret_basic or client_secret_post, or remove the secret',
      ],
      [
        'config.yaml:4:3 clients.c',
        'needs jwks_uri or jwks, because token_endpoint_auth_method is private_key_jwt',
      ],
    ],
    [
      'clients whose grants do not fit',
      `clients:\n  a: { name: A, grant_types: [client_credentials], service_account: nigthly }\n  b: { name: B, grant_types: [client_credentials, refresh_token], token_endpoint_auth_method: client_secret_post, client_secret: ${secret}, redirect_uris: ["https://b.example"] }\n  c: { name: C, service_account: nightly }\nservice_accounts: { nightly: { services: [a] } }\nmcp_services: { a: { url: "http://localhost:3001/mcp" } }\n`,
      [
        'config.yaml:2:17 clients.a.grant_types',
        'has client_credentials, for which the client must authenticate: set token_endpoint_auth_method to client_secret_basic, client_secret_post or private_key_jwt',
      ],
      [
        'config.yaml:2:69 clients.a.service_account',
        'names "nigthly", which is not in service_accounts; did you mean "nightly"?',
      ],
      ['config.yaml:3:3 clients.b', 'needs service_account, because grant_types has client_credentials'],
      [
        'config.yaml:3:30 clients.b.grant_types',
        'has refresh_token without authorization_code: only users’ grants have refresh tokens',
      ],
      [
        'config.yaml:3:164 clients.b.redirect_uris',
        'has no effect, because grant_types does not have authorization_code: add it, or remove this key',
      ],
      ['config.yaml:4:3 clients.c', 'needs redirect_uris, because grant_types has authorization_code'],
      [
        'config.yaml:4:17 clients.c.service_account',
        'has no effect, because grant_types does not have client_credentials: add it',
      ],
    ],
    [
      'grants that no registration can have',
      'dynamic_registration: { grant_types: [password] }\nservice_accounts: { nightly: { services: ["*"] } }\n',
      [
        'config.yaml:1:23 dynamic_registration',
        'must be true, false, or { grant_types: [client_credentials] }',
      ],
    ],
    [
      'grants for registrations without an account for them',
      'dynamic_registration: { grant_types: [client_credentials] }\n',
      [
        'config.yaml:1:25 dynamic_registration.grant_types',
        'has no effect, because service_accounts has no account to bind a client to',
      ],
    ],
    [
      'token exchange by clients that cannot be',
      `clients:\n  agent: { name: A, grant_types: ["urn:ietf:params:oauth:grant-type:token-exchange"], token_endpoint_auth_method: client_secret_post, client_secret: ${secret} }\n  open: { name: O, redirect_uris: ["https://o.example"] }\nmcp_services: { a: { url: "http://localhost:3001/mcp" } }\ntoken_exchange:\n  - { client: agnet, subject_clients: [opne], services: [a], permissions: [read] }\n  - { client: open, subject_clients: ["https://x.example/y"], services: [a] }\n`,
      [
        'config.yaml:2:34 clients.agent.grant_types',
        'has token-exchange, but no entry of token_exchange names this client: add one',
      ],
      [
        'config.yaml:6:15 token_exchange[0].client',
        'names "agnet", which is not in clients; did you mean "agent"?',
      ],
      [
        'config.yaml:6:40 token_exchange[0].subject_clients[0]',
        'names "opne", which is not in clients; did you mean "open"?',
      ],
      [
        'config.yaml:6:62 token_exchange[0].permissions',
        'cannot be enforced without access rules, which say what each tool needs: add `access`, or remove this key',
      ],
      [
        'config.yaml:7:15 token_exchange[1].client',
        'names a client that does not authenticate: set its token_endpoint_auth_method to client_secret_basic, client_secret_post or private_key_jwt',
      ],
    ],
    [
      'the header Authorization for personal access tokens',
      'personal_tokens: { header: Authorization }\n',
      [
        'config.yaml:1:28 personal_tokens.header',
        'cannot be used: this header has another meaning. Choose another one, such as x-api-key',
      ],
    ],
    [
      'the header Mcp-Session-Id for personal access tokens',
      'personal_tokens: { header: Mcp-Session-Id }\n',
      [
        'config.yaml:1:28 personal_tokens.header',
        'cannot be used: this header has another meaning. Choose another one, such as x-api-key',
      ],
    ],
    [
      'the header Transfer-Encoding for personal access tokens',
      'personal_tokens: { header: Transfer-Encoding }\n',
      [
        'config.yaml:1:28 personal_tokens.header',
        'cannot be used: this header has another meaning. Choose another one, such as x-api-key',
      ],
    ],
    [
      'the header X-User-Id for personal access tokens',
      'personal_tokens: { header: X-User-Id }\n',
      [
        'config.yaml:1:28 personal_tokens.header',
        'cannot be used: this header has another meaning. Choose another one, such as x-api-key',
      ],
    ],
    [
      'the header X-Request-Id for personal access tokens',
      'personal_tokens: { header: X-Request-Id }\n',
      [
        'config.yaml:1:28 personal_tokens.header',
        'cannot be used: this header has another meaning. Choose another one, such as x-api-key',
      ],
    ],
    [
      'the header Sec-Fetch-Site for personal access tokens',
      'personal_tokens: { header: Sec-Fetch-Site }\n',
      [
        'config.yaml:1:28 personal_tokens.header',
        'cannot be used: this header has another meaning. Choose another one, such as x-api-key',
      ],
    ],
    [
      'a header for personal access tokens that a service uses',
      'personal_tokens: { header: X-Api-Key }\nmcp_services:\n  a: { url: "http://localhost:1/mcp", pass_headers: [x_api_key] }\n  b: { url: "http://localhost:2/mcp", identity: { headers: { x-api-key: "{email}" } } }\n',
      [
        'config.yaml:1:28 personal_tokens.header',
        'is also named in mcp_services.a: use another header for one of the two',
      ],
      [
        'config.yaml:1:28 personal_tokens.header',
        'is also named in mcp_services.b: use another header for one of the two',
      ],
    ],
    [
      'service accounts that hold nothing',
      'oauth_providers: { service: { issuer: "https://id.example", client_id: x } }\nservice_accounts: { nightly: { services: [a], permissions: [read] }}\nmcp_services: { a: { url: "http://localhost:3001/mcp" } }\n',
      ['config.yaml:1:20 oauth_providers.service', 'is reserved for service accounts: use another ID'],
      [
        'config.yaml:2:47 service_accounts.nightly.permissions',
        'cannot be enforced without access rules, which say what each tool needs: add `access`, or remove this key',
      ],
    ],
    [
      'an ID-JAG for nobody’s server, from no provider, and without a client',
      'mcp_services:\n  a: { url: "https://a.example/mcp", upstream_auth: { type: id_jag, subject: access_token, provider: okta } }\n',
      [
        'config.yaml:2:55 mcp_services.a.upstream_auth.type',
        'id_jag needs client_id, and client_secret or private_key',
      ],
      [
        'config.yaml:2:55 mcp_services.a.upstream_auth.type',
        'id_jag needs `issuer`: the ID-JAG is issued for that authorization server',
      ],
      [
        'config.yaml:2:61 mcp_services.a.upstream_auth.type',
        'id_jag needs oauth_providers: the token comes from the identity provider that users sign in with',
      ],
      ['config.yaml:2:69 mcp_services.a.upstream_auth.subject', 'access_token is for type: token_exchange'],
      ['config.yaml:2:92 mcp_services.a.upstream_auth.provider', 'is not in oauth_providers: okta'],
    ],
    [
      'subject tokens of the platform without the place they are in, or who is asked',
      'mcp_services:\n  a: { url: "https://a.example/mcp", upstream_auth: { type: token_exchange, subject: file, assertion_env: X, idp: { client_id: y } } }\n',
      [
        'config.yaml:2:77 mcp_services.a.upstream_auth.subject',
        'subject: file and assertion_file need each other',
      ],
      [
        'config.yaml:2:77 mcp_services.a.upstream_auth.subject',
        'subject: env and assertion_env need each other',
      ],
      [
        'config.yaml:2:77 mcp_services.a.upstream_auth.subject',
        'file needs idp.token_endpoint and idp.client_id',
      ],
    ],
    [
      'an assertion of the platform for whichever server is named, and none',
      'mcp_services:\n  a: { url: "https://a.example/mcp", upstream_auth: { type: workload } }\n  b: { url: "https://b.example/mcp", upstream_auth: { type: oauth, assertion_file: /x, dpop: sometimes } }\n',
      [
        'config.yaml:2:55 mcp_services.a.upstream_auth.type',
        'workload needs assertion_file or assertion_env',
      ],
      [
        'config.yaml:2:55 mcp_services.a.upstream_auth.type',
        'workload needs `issuer` or `token_endpoint`, so that the assertion goes only to the authorization server it is for',
      ],
      [
        'config.yaml:3:68 mcp_services.b.upstream_auth.assertion_file',
        'cannot be used with type: oauth; it is for id_jag, token_exchange, workload',
      ],
      [
        'config.yaml:3:94 mcp_services.b.upstream_auth.dpop',
        'must be one of: auto, required, off; found "sometimes"',
      ],
    ],
    [
      'an ID token of a provider that issues none',
      'oauth_providers: { github: { client_id: x, client_secret: y, allowed_logins: [z] } }\nmcp_services:\n  a: { url: "https://a.example/mcp", upstream_auth: { type: token_exchange, provider: github } }\n',
      [
        'config.yaml:3:77 mcp_services.a.upstream_auth.provider',
        'issues no ID tokens: set `subject: access_token`, or another provider',
      ],
    ],
    [
      'a token of an identity provider where there is none',
      'mcp_services:\n  a: { url: "https://a.example/mcp", upstream_auth: { type: idp_token } }\n',
      [
        'config.yaml:2:61 mcp_services.a.upstream_auth.type',
        'idp_token needs oauth_providers: the token comes from the identity provider that users sign in with',
      ],
    ],
    [
      'a private key among public ones',
      'clients:\n  a: { name: A, redirect_uris: ["https://a.example"], token_endpoint_auth_method: private_key_jwt, jwks: { keys: [{ kty: EC, d: abc }] } }\n',
      [
        'config.yaml:2:126 clients.a.jwks.keys[0].d',
        'is part of a private key: list public keys only, and replace this key, because it is now exposed',
      ],
    ],
    [
      'headers that the gateway writes itself',
      service('    identity: { headers: { Authorization: "x", X-Mcp-Identity: "y", X-Fine: "z" } }\n'),
      [
        'config.yaml:4:28 mcp_services.a.identity.headers.Authorization',
        'cannot be set: the gateway or the protocol controls this header',
      ],
      [
        'config.yaml:4:48 mcp_services.a.identity.headers.X-Mcp-Identity',
        'cannot be set: the gateway or the protocol controls this header',
      ],
    ],
    [
      'a header with a line break',
      service('    identity: { headers: { X-A: "a\\r\\nb" } }\n'),
      [
        'config.yaml:4:33 mcp_services.a.identity.headers.X-A',
        'must not contain line breaks or other control characters',
      ],
    ],
  ]
  for (const [title, text, ...wanted] of rows) it(title, () => told(text, wanted))

  it('redirect URIs that no request could ever match', async () => {
    const of = (uri: string) =>
      faultsOf(`clients: { app: { name: App, redirect_uris: [${JSON.stringify(uri)}] } }\n`)
    const useless = [
      'http://127.0.0.2/cb',
      'http://app.localhost/cb',
      'https://app.example/a/../cb',
      'https://app.example/%2e%2e/cb',
      'https://bücher.example/cb',
      'http://[0:0:0:0:0:0:0:1]/cb',
      'https://127.1/cb',
      'mailto:a@b.example',
      'https://app.example\\cb',
      'https://app.example/a b',
      'app:cb',
    ]
    for (const uri of useless)
      expect([uri, await of(uri)]).toEqual([
        uri,
        [
          'config.yaml:1:46 clients.app.redirect_uris[0] – is not a valid redirect URI: use https, http on localhost, 127.0.0.1 or [::1], or an app scheme such as com.example.app:/callback, in ASCII and in normalized form',
        ],
      ])
    for (const uri of [
      'http://[::1]:5000/cb',
      'http://localhost',
      'https://app.example:8443/cb?x=1',
      'https://xn--bcher-kva.example/cb',
      'cursor://anysphere.cursor-mcp/oauth/callback',
      'com.example.app:/cb',
    ])
      expect([uri, await of(uri)]).toEqual([uri, []])
  })

  it('memory in production, which NODE_ENV says [H-U9]', async () => {
    const text = 'storage: { type: memory }\n'
    expect(await faultsOf(text, { env: { NODE_ENV: 'production' } })).toEqual([
      'config.yaml:1:18 storage.type – memory is not allowed with NODE_ENV=production, because all sign-ins are lost on exit: use sqlite, redis, postgres or vault',
    ])
    expect(await faultsOf(text)).toEqual([])
  })
})

describe('what is allowed with a word of warning', () => {
  const rows: readonly (readonly [string, string, string])[] = [
    ...['profile', 'minimal', 'claims', 'context'].map((name, i): readonly [string, string, string] => [
      `an identity preset under its old name, today ${name}`,
      `mcp_services: { a: { url: https://a.example/mcp, identity: { preset: seed${i + 1} } } }\n`,
      `config.yaml:1:70 mcp_services.a.identity.preset – "seed${i + 1}" is an old name: write "${name}" instead`,
    ]),
    [
      'a public URL whose port nobody listens on',
      'issuer: http://localhost:8080\nport: 9000\n',
      'config.yaml:1:9 issuer – uses port 8080, but the gateway listens on port 9000, so clients cannot connect: set both to the same port',
    ],
    [
      'debug on a public gateway',
      `${publicly}debug: true\n`,
      'config.yaml:3:8 debug – is on for a public gateway, so logs may contain personal data: set `debug: false` in production',
    ],
    [
      'registrations that end before their refresh tokens',
      'client_lifetime: 3600\n',
      'config.yaml:1:18 client_lifetime – makes client registrations (1h) expire before their refresh tokens (30d): users will have to sign in again',
    ],
  ]
  it.each(rows)('%s', async (_, text, wanted) => {
    expect(await faultsOf(text)).toEqual([])
    expect(await warningsOf(text)).toEqual([wanted])
  })

  it('nothing, where everything is as it should be', async () => {
    const text = `${publicly}host: 0.0.0.0\nsession_secret: ${secret}\nprevious_secrets: [Zq3xT9zLw2Kp8Rb5Ny7Hc4Jd6Gf1Ms0B]\nallowed_hosts: ["mcp.internal:8443", "[::1]:8080"]\ntrusted_proxies: [10.0.0.0/8, 192.168.1.7, "fc00::/7"]\ncors: { allow_origins: ["https://app.example.com", "chrome-extension://abcdef"], allow_credentials: true }\n${service('    scopes: [read]\n    access: { everyone: true }\n')}`
    expect(await faultsOf(text)).toEqual([])
    expect(await warningsOf(text)).toEqual([])
  })
})

const one = await callbackPathOf('https://one.example')
const two = await callbackPathOf('https://two.example')
describe('redirect URIs at upstreams', () => {
  const service = (id: string, issuer: string, more = '') =>
    `  ${id}: { url: "https://${id}.example/mcp", upstream_auth: { issuer: "${issuer}", client_id: x${more} } }\n`
  const at = (uri: string) => `, redirect_uri: "${uri}"`

  it('are said for each client that the operator registered', async () => {
    const text = `issuer: https://gw.example\nmcp_services:\n${service('a', 'https://one.example')}`
    expect((await warningsOf(text)).filter((line) => line.includes('redirect'))).toEqual([
      `config.yaml:3:97 mcp_services.a.upstream_auth.client_id – uses the redirect URI https://gw.example${one}: register it at https://one.example. If another one is registered there, set redirect_uri to it`,
    ])
  })

  it('serve one authorization server each, whichever way they and it are written', async () => {
    const [plain, other] = ['https://gw.example/connect/callback', 'https://GW.example/connect/callback']
    const text = `issuer: https://gw.example\nmcp_services:\n${service('a', 'https://one.example', at(plain))}${service('b', 'https://ONE.example/', at(plain))}${service('c', 'https://two.example', at(other))}${service('d', 'https://two.example', at('https://gw.example/oauth/callback'))}`
    expect((await warningsOf(text)).filter((line) => line.includes('redirect'))).toEqual([
      expect.stringMatching(/^config\.yaml:5:\d+ mcp_services\.c\.upstream_auth\.redirect_uri – /),
    ])
    expect((await warningsOf(text)).join('\n')).toContain(
      `is already used for https://one.example (mcp_services.a), and each authorization server needs its own: register https://gw.example${two} at https://two.example and set it here`,
    )
  })

  it('do nothing where the authorization server is whichever the upstream names', async () => {
    const text =
      'mcp_services:\n  a: { url: "https://a.example/mcp", upstream_auth: { redirect_uri: "https://gw.example/connect/callback" } }\n'
    expect((await warningsOf(text)).filter((line) => line.includes('redirect'))).toEqual([
      'config.yaml:2:69 mcp_services.a.upstream_auth.redirect_uri – has no effect without issuer and client_id (or client_metadata_url): a redirect URI belongs to one authorization server',
    ])
  })
})

describe('several ways to sign in', () => {
  const provider = (issuer: string, more = '') =>
    `{ issuer: ${issuer}, client_id: a, client_secret: abcdefgh${more} }`

  it('are said, with what servers get', async () => {
    const text = `oauth_providers: { one: ${provider('https://one.test')}, two: ${provider('https://two.test')} }`
    expect((await warningsOf(text)).filter((line) => line.includes('several sign-in methods'))).toEqual([
      'config.yaml:1:18 oauth_providers – has several sign-in methods (one, two) whose user IDs may collide: servers receive provider:subject, for example one:123456. To send the bare subject, set identity.headers',
    ])
    expect(
      (await warningsOf(`oauth_providers: { one: ${provider('https://one.test')} }`)).filter((line) =>
        line.includes('several sign-in methods'),
      ),
    ).toEqual([])
  })

  it('never believe any address of a provider where anybody can have an account', async () => {
    expect(
      await faultsOf(
        `oauth_providers: { google: { client_id: a, client_secret: abcdefgh, email_verified: trust, allowed_domains: [example.com] } }`,
      ),
    ).toEqual([
      'config.yaml:1:85 oauth_providers.google.email_verified – must not be "trust" for a provider that is open to anyone: users there can claim any email address',
    ])
    expect(
      await faultsOf(
        `oauth_providers: { one: ${provider('https://one.test', ', email_verified: trust, groups_claim: realm_access.roles')} }`,
      ),
    ).toEqual([])
  })
})

describe('where audit events are sent', () => {
  const rows: readonly Row[] = [
    [
      'headers for a file of anchors',
      'audit:\n  anchors:\n    url: file:///var/anchors.jsonl\n    headers: { a: b }\n',
      ['config.yaml:4:14 audit.anchors.headers', 'has no effect here: only an HTTP URL gets headers'],
    ],
    [
      'anchors to standard output',
      'audit:\n  anchors: { url: "stdout:" }\n',
      ['config.yaml:2:19 audit.anchors.url', 'must be file:///… or an http(s):// URL'],
    ],
    [
      'a directory for what cannot be written that is nowhere in particular',
      'audit:\n  spill: audit\n',
      ['config.yaml:2:10 audit.spill', 'must be an absolute path'],
    ],
    [
      'headers for a file of events',
      'audit:\n  sinks:\n    s: { url: file:///var/audit.jsonl, headers: { a: b } }\n',
      [
        'config.yaml:3:49 audit.sinks.s.headers',
        'has no effect here: only an OpenTelemetry collector gets headers',
      ],
    ],
  ]
  for (const [title, text, ...wanted] of rows) it(title, () => told(text, wanted))
})

describe('tokens that are bound to a key', () => {
  const off = 'needs DPoP to be on: add `dpop: { mode: optional }` at the top level'
  const rows: readonly Row[] = [
    [
      'required at a service, and off',
      service('    dpop: required\n'),
      ['config.yaml:4:11 mcp_services.a.dpop', off],
    ],
    [
      'optional for a client, and switched off',
      'dpop: { mode: off }\nclients:\n  c: { name: C, redirect_uris: ["https://c.example/cb"], dpop: optional }\n',
      ['config.yaml:3:64 clients.c.dpop', off],
    ],
    [
      'required where nobody has a token',
      `dpop: {}\n${service('    auth_required: false\n    dpop: required\n')}`,
      [
        'config.yaml:6:11 mcp_services.a.dpop',
        'has no effect, because `auth_required` is false: nobody has a token',
      ],
    ],
    [
      'remembered in memory without nonces',
      'dpop: { nonce: off, replay: memory }\n',
      [
        'config.yaml:1:29 dpop.replay',
        'needs `nonce: required`: without nonces, a restart forgets proofs that are still valid',
      ],
    ],
  ]
  for (const [title, text, ...wanted] of rows) it(title, () => told(text, wanted))

  it('switched off for one service and one client alone is no fault', async () => {
    const one = service('    dpop: off\n')
    expect(await faultsOf(one)).toEqual([])
    expect(await faultsOf(`dpop: { mode: required, replay: memory }\n${one}`)).toEqual([])
  })
})

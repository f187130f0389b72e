// Hosts of services in the configuration: what is understood, and what would be two things at once.
import { describe, expect, it } from 'vitest'
import { configOf, faultsOf, warningsOf } from './config-world.ts'

const services = (lines: string): string =>
  `mcp_services:\n  jira:\n    url: https://mcp.atlassian.com/v1/mcp\n    auth_required: false\n${lines}`

describe('hosts of services', () => {
  it('come from the file and from the variables of the first gateways', async () => {
    const env = { DOMAIN_ROOT: 'copernicusone.com', BASE_DOMAIN: 'localhost' }
    expect(
      await configOf(
        services('hosts:\n  mcp.example.com: jira\nadmins: ["local:ana", "ops@example.com"]\n'),
        { env },
      ),
    ).toMatchObject({
      domain_root: 'copernicusone.com',
      base_domain: 'localhost',
      hosts: { 'mcp.example.com': 'jira' },
      admins: ['local:ana', 'ops@example.com'],
    })
  })

  it('are exact names, and those of the gateway are not among them', async () => {
    expect(await faultsOf(services('hosts:\n  MCP.example.com: jira\n'))).toEqual([
      'config.yaml:6:3 hosts["MCP.example.com"] – "MCP.example.com" is not a valid name: must be a host or host:port in lower case, without a scheme or path',
    ])
    for (const host of ['localhost', 'localhost:8080', '127.0.0.1', 'gw.example.com']) {
      expect(await faultsOf(services(`issuer: https://gw.example.com\nhosts:\n  "${host}": jira\n`))).toEqual(
        [
          expect.stringContaining(
            'is the gateway’s own host: services are reached there by path, e.g. /jira/mcp',
          ),
        ],
      )
    }
    expect(await faultsOf(services('hosts:\n  mcp.example.com: jria\n'))).toEqual([
      expect.stringContaining('is not in mcp_services; did you mean "jira"?'),
    ])
  })

  it('below one domain never meet one another or the gateway [H-U5]', async () => {
    const two = (a: string, b: string): string =>
      `mcp_services:\n  ${a}: { url: "https://a.example/mcp", auth_required: false }\n  ${b}: { url: "https://b.example/mcp", auth_required: false }\nbase_domain: example.com\n`
    expect(await faultsOf(two('a_b', 'a-b'))).toEqual([
      expect.stringContaining('conflicts with "a_b": both would be served at a-b.example.com'),
    ])
    expect(await faultsOf(`issuer: https://auth.example.com\n${two('auth', 'b')}`)).toEqual([
      expect.stringContaining('auth – cannot be named "auth": auth.example.com is the gateway’s own host'),
    ])
    expect(await faultsOf(`domain_root: example.com\n${two('a', 'b-enc')}`)).toEqual([
      expect.stringContaining('cannot end with "-enc"'),
    ])
    for (const name of ['.well-known', 'token', 'admin', '..', 'encode'])
      expect(await faultsOf(two('a', `"${name}"`))).not.toEqual([])
  })

  it('that encode a domain never mean two servers, and no two names are one place [H-U5]', async () => {
    const two = (a: string, b: string): string =>
      `domain_root: example.com\nmcp_services:\n  a: { auth_required: false, ${a} }\n  b: { auth_required: false, ${b} }\n`
    const jira = 'url: "https://mcp.atlassian.com/v1/mcp"'
    const label = 'nvrxaltborwgc43tnfqw4ltdn5wq-enc'
    expect(await faultsOf(two(jira, jira))).toEqual([
      expect.stringContaining(
        `b.url – conflicts with "a": both would be served at ${label}.example.com/v1/mcp. Set \`alias\` on one of them`,
      ),
    ])
    expect(await faultsOf(two(jira, jira.replace('atlassian.com', 'ATLASSIAN.com:8443')))).toHaveLength(1)
    for (const other of [
      `${jira}, alias: jira`,
      jira.replace('/v1/mcp', '/v1/sse'),
      jira.replace('mcp.', 'mcp2.'),
    ])
      expect(await faultsOf(two(jira, other))).toEqual([])
    expect(await faultsOf(two(`${jira}, alias: x`, `${jira}, alias: y`))).toEqual([])
    expect(await faultsOf(two(`${jira}, alias: x`, `${jira}, alias: x`))).toEqual([
      expect.stringContaining('is already the alias of "a"'),
    ])
    // A command has no domain, and an alias may be all there is.
    expect(
      await faultsOf(
        two('command: a, alias: x', 'command: b, alias: y').replaceAll('auth_required: false, ', ''),
      ),
    ).toEqual([])
    // An alias may spell a domain.
    expect(
      await faultsOf(
        two(jira, `url: "https://other.example.com/v1/mcp", alias: ${label.replace('-enc', '')}`),
      ),
    ).toEqual([
      expect.stringContaining(
        `b.url – conflicts with "a": both would be served at ${label}.example.com/v1/mcp. Set \`alias\` on one of them`,
      ),
    ])
    expect(await faultsOf(two(jira, jira).replace('domain_root: example.com\n', ''))).toEqual([])
    const hosts = (a: string, b: string): string =>
      services(`issuer: https://gw.example.com\nhosts:\n  ${a}: jira\n  "${b}": jira\n`)
    expect(await faultsOf(hosts('mcp.example.com', 'mcp.example.com:443'))).toEqual([
      expect.stringContaining('is the same host as "mcp.example.com"'),
    ])
    expect(await faultsOf(hosts('mcp.example.com', 'mcp.example.com:8443'))).toEqual([])
    expect(await faultsOf(hosts('mcp.example.com', 'mcp2.example.com:99999'))).toEqual([
      expect.stringContaining('has an invalid port: use 1 to 65535'),
    ])
  })

  it('are never where a server is: calls would go round in a circle [H-C17]', async () => {
    const at = (url: string): string =>
      `issuer: https://gw.example.com\ndomain_root: enc.example.com\nbase_domain: svc.example.com\nhosts:\n  mcp.example.com: one\nmcp_services:\n  one: { url: "https://upstream.example.com/mcp", auth_required: false }\n  o_o: { url: "${url}", auth_required: false }\n`
    for (const url of [
      'https://mcp.example.com/mcp',
      'https://MCP.example.com:443/x',
      'https://one.svc.example.com/mcp',
      'https://o-o.svc.example.com/',
      'wss://one.svc.example.com/ws',
      'https://anything-enc.enc.example.com/mcp',
      'https://gw.example.com/one/mcp',
    ]) {
      expect([url, await faultsOf(at(url))]).toEqual([
        url,
        [
          expect.stringContaining(
            'url – points back to this gateway, so calls would loop: set the URL of the MCP server itself',
          ),
        ],
      ])
    }
    for (const url of [
      'https://mcp.example.com:8443/mcp',
      'https://two.svc.example.com/mcp',
      'https://svc.example.com/mcp',
      'https://x.enc.example.com/mcp',
    ])
      expect([url, await faultsOf(at(url))]).toEqual([url, []])
  })

  it('that encode a domain have room for 36 bytes of it, and an alias helps beyond', async () => {
    const long = (alias: string): string =>
      `domain_root: example.com\nmcp_services:\n  long:\n    url: https://${'a'.repeat(33)}.com/mcp\n    auth_required: false\n${alias}`
    expect(await warningsOf(long(''))).toEqual([
      expect.stringContaining(
        'has a domain of 37 bytes, but at most 36 fit into a DNS label: set `alias` to serve it under example.com',
      ),
    ])
    expect(await warningsOf(long('    alias: long\n'))).toEqual([])
    expect(await warningsOf(services('').replace('auth_required', 'alias: jira\n    auth_required'))).toEqual(
      [expect.stringContaining('has no effect without `domain_root`')],
    )
    expect(await faultsOf(`domain_root: "*.example.com"\n${services('')}`)).toEqual([
      expect.stringContaining('must be a domain in lower case'),
    ])
  })
})

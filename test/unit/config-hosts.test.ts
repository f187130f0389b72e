// Hosts of services in the configuration: what is understood, and what would be two things at once.
import { describe, expect, it } from 'vitest'
import { configOf, faultsOf, warningsOf } from './config-world.ts'

const services = (lines: string): string => `mcp_services:\n  jira:\n    url: https://mcp.atlassian.com/v1/mcp\n    auth_required: false\n${lines}`

describe('hosts of services', () => {
  it('come from the file and from the variables of the first gateways', async () => {
    const env = { DOMAIN_ROOT: 'copernicusone.com', BASE_DOMAIN: 'localhost' }
    expect(await configOf(services('hosts:\n  mcp.example.com: jira\nadmins: ["local:ana", "ops@example.com"]\n'), { env })).toMatchObject({
      domain_root: 'copernicusone.com',
      base_domain: 'localhost',
      hosts: { 'mcp.example.com': 'jira' },
      admins: ['local:ana', 'ops@example.com'],
    })
  })

  it('are exact names, and those of the gateway are not among them', async () => {
    expect(await faultsOf(services('hosts:\n  MCP.example.com: jira\n'))).toEqual(['config.yaml:6:3 hosts["MCP.example.com"] – "MCP.example.com" cannot be used as a name here: must be a host or host:port in lower case, without scheme and path'])
    for (const host of ['localhost', 'localhost:8080', '127.0.0.1', 'gw.example.com']) {
      expect(await faultsOf(services(`issuer: https://gw.example.com\nhosts:\n  "${host}": jira\n`))).toEqual([expect.stringContaining('is a name of the gateway itself')])
    }
    expect(await faultsOf(services('hosts:\n  mcp.example.com: jria\n'))).toEqual([expect.stringContaining('is not in mcp_services, did you mean "jira"?')])
  })

  it('below one domain never meet one another or the gateway [hostile U5]', async () => {
    const two = (a: string, b: string): string => `mcp_services:\n  ${a}: { url: "https://a.example/mcp", auth_required: false }\n  ${b}: { url: "https://b.example/mcp", auth_required: false }\nbase_domain: example.com\n`
    expect(await faultsOf(two('a_b', 'a-b'))).toEqual([expect.stringContaining('cannot stand beside "a_b": both would be a-b.example.com')])
    expect(await faultsOf(`issuer: https://auth.example.com\n${two('auth', 'b')}`)).toEqual([expect.stringContaining('auth.example.com is the gateway itself')])
    expect(await faultsOf(`domain_root: example.com\n${two('a', 'b-enc')}`)).toEqual([expect.stringContaining('cannot end with "-enc"')])
    for (const name of ['.well-known', 'token', 'admin', '..', 'encode']) expect(await faultsOf(two('a', `"${name}"`))).not.toEqual([])
  })

  it('that encode a domain have room for 36 bytes of it, and an alias helps beyond', async () => {
    const long = (alias: string): string => `domain_root: example.com\nmcp_services:\n  long:\n    url: https://${'a'.repeat(33)}.com/mcp\n    auth_required: false\n${alias}`
    expect(await warningsOf(long(''))).toEqual([expect.stringContaining('has a domain of 37 bytes, and 36 fit into one DNS label: give the service an alias')])
    expect(await warningsOf(long('    alias: long\n'))).toEqual([])
    expect(await warningsOf(services('').replace('auth_required', 'alias: jira\n    auth_required'))).toEqual([expect.stringContaining('does nothing without domain_root')])
    expect(await faultsOf(`domain_root: "*.example.com"\n${services('')}`)).toEqual([expect.stringContaining('must be a domain in lower case')])
  })
})

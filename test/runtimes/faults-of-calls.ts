// The table of faults: what goes wrong with tokens, with calls and in the gateway itself.
import {
  type Fault,
  answerOf,
  both,
  callAt,
  codeAfter,
  json,
  opens,
  page,
  signed,
  signedInAt,
  stranger,
} from './fault-cases.ts'
import { createBrowser } from './browser.ts'
import { asked, begin, redirectUri, resourceAt } from './faulty-world.ts'
import { form, redeem, refresh, register } from './login.ts'
import { callerOf } from './people.ts'
import { call as toolCall, rpc } from './ruled-upstream.ts'

export const faultsOfCalls: readonly Fault[] = [
  // The token endpoint.
  {
    fault: 'the app redeems a code that nobody issued',
    code: 'code.unknown',
    acts: 'app',
    why: /.+/,
    met: json,
    flow: 'none',
    run: stranger(async (at) => redeem(at, await register(at), 'pc_unknown', 'v'.repeat(43))),
  },
  {
    fault: 'the app redeems its code with another verifier',
    code: 'pkce.verifier',
    acts: 'app',
    why: /.*/,
    met: json,
    async run(world) {
      const { at, client, browser, page: shown } = await begin(world.another())
      const code = await codeAfter(browser, shown)
      return { answer: await answerOf('', await redeem(at, client, code, 'v'.repeat(43))), client: client.id }
    },
  },
  {
    fault: 'the app redeems its code for another redirect URI',
    code: 'code.redirect',
    acts: 'app',
    why: /.*/,
    met: json,
    async run(world) {
      const { at, client, browser, page: shown, verifier } = await begin(world.another())
      const code = await codeAfter(browser, shown)
      const other = { ...client, redirectUri: 'http://127.0.0.1:5000/other' }
      return { answer: await answerOf('', await redeem(at, other, code, verifier)), client: client.id }
    },
  },
  {
    fault: 'the app shows a refresh token of a grant that was revoked',
    code: 'refresh.revoked',
    acts: 'app',
    why: /.+/,
    met: json,
    run: signed(async ({ at, client, tokens }) => {
      await at.fetch(`${at.origin}/oauth/revoke`, form({ client_id: client.id, token: tokens.refresh_token }))
      return refresh(at, client, tokens.refresh_token)
    }),
  },
  {
    fault: 'the app shows the refresh token of another client',
    code: 'client.auth',
    acts: 'app',
    why: /.+/,
    met: json,
    flow: 'none',
    run: stranger((at) => refresh(at, { id: 'stranger', redirectUri }, 'x')),
  },
  // Calls.
  {
    fault: 'the app sends no token',
    code: 'token.missing',
    acts: 'app',
    why: /no Authorization header/,
    met: json,
    flow: 'none',
    run: stranger((at) => callerOf(at, resourceAt(at), '').post(rpc('tools/list'))),
  },
  {
    fault: 'the token is cut off',
    code: 'token.malformed',
    acts: 'app',
    why: /signature, issuer or type/,
    met: json,
    flow: 'none',
    run: stranger((at) => callerOf(at, resourceAt(at), 'nonsense').post(rpc('tools/list'))),
  },
  {
    fault: 'the token is for another service',
    code: 'token.audience',
    acts: 'app',
    why: /\/echo\/mcp at .*\/gone\/mcp/,
    met: json,
    flow: 'none',
    run: signed(callAt('gone')),
  },
  {
    fault: 'the app speaks a revision of MCP that is not there',
    code: 'mcp.version',
    acts: 'app',
    why: /1999-01-01/,
    met: json,
    run: signed(callAt('echo', rpc('tools/list'), { 'mcp-protocol-version': '1999-01-01' })),
    flow: 'none',
  },
  {
    fault: 'the MCP server does not run',
    code: 'upstream.unreachable',
    acts: 'server',
    why: /gone at http:\/\/127\.0\.0\.1:9\/mcp: .+/,
    met: json,
    doctor: 'mcp_services.gone.url',
    run: signed(callAt('gone'), 'gone'),
  },
  {
    fault: 'a captive portal answers in place of the MCP server',
    code: 'upstream.media-type',
    acts: 'server',
    why: /text\/html/,
    met: json,
    doctor: 'mcp_services.portal.url',
    run: signed(callAt('portal'), 'portal'),
  },
  {
    fault: 'the MCP server answers broken JSON',
    code: 'upstream.message',
    acts: 'server',
    why: /.+/,
    met: json,
    run: signed(callAt('broken'), 'broken'),
  },
  {
    fault: 'the MCP server redirects to another site',
    code: 'upstream.redirect',
    acts: 'server',
    why: /https:\/\/elsewhere\.test\/mcp/,
    met: json,
    run: signed(callAt('moved'), 'moved'),
  },
  {
    fault: 'the key of the gateway at the MCP server has expired',
    code: 'upstream.credential',
    acts: 'operator',
    why: /401/,
    met: json,
    doctor: 'mcp_services.keyed.url',
    run: signed(callAt('keyed'), 'keyed'),
  },
  {
    fault: 'the access rules deny the tool',
    code: 'policy.denied',
    acts: 'operator',
    why: /.+/,
    met: json,
    flow: 'none',
    run: signed(async (one) => {
      await callAt('ruled')(one)
      return callAt('ruled', toolCall('query'))(one)
    }, 'ruled'),
  },
  {
    fault: 'the user has no access to the service',
    code: 'access.none',
    acts: 'operator',
    why: /.+/,
    met: page,
    async run(world, as) {
      const began = await begin(world.another(), { resource: 'http://localhost:8080/closed/mcp' })
      const answer = await signedInAt(began.browser, began.page, as)
      return { answer, client: began.client.id }
    },
  },
  // The gateway.
  {
    fault: 'the reverse proxy sends another host name',
    code: 'request.host-unknown',
    acts: 'operator',
    why: /inner\.local/,
    met: both,
    flow: 'none',
    run: async (world, as) => {
      const response = await world.another().fetch('http://inner.local/login', asked(as))
      return { answer: await answerOf('', response) }
    },
  },
  {
    fault: 'an address is misspelt',
    code: 'route.unknown',
    acts: 'user',
    why: /\/nowhere/,
    met: both,
    flow: 'none',
    run: opens('/nowhere'),
  },
  {
    fault: 'somebody who is no administrator opens the console',
    code: 'admin.required',
    acts: 'operator',
    why: /.*/,
    met: page,
    flow: 'none',
    async run(world) {
      const at = world.another()
      const browser = createBrowser(at.fetch, at.origin)
      await browser.submit(await browser.go('/login'), '/login', {
        username: 'yamada',
        password: 'battery horse correct',
      })
      return { answer: await browser.go('/console') }
    },
  },
  {
    fault: 'the service was disabled',
    code: 'service.disabled',
    acts: 'operator',
    why: /.*/,
    met: json,
    run: signed(async (one, world) => {
      await world.admin.ask('PUT', '/api/services/off/disabled', {})
      return callAt('off')(one)
    }, 'off'),
  },
  {
    fault: 'the storage cannot be reached',
    code: 'storage.unavailable',
    acts: 'operator',
    why: /ECONNREFUSED redis/,
    met: both,
    flow: 'none',
    async run(world, as) {
      const began = await begin(world.another())
      world.breakStorage(true)
      try {
        return { answer: await began.browser.go(began.page.url, asked(as)) }
      } finally {
        world.breakStorage(false)
      }
    },
  },
]

// A gateway that records flows, and an administrator who asks for them.
import type { ListedFlow } from '../../src/ports/flow-record.ts'
import { type Administrator, signInAs } from './administrator.ts'
import type { Tokens } from './login.ts'
import { ana, callerOf, yamada } from './people.ts'
import { call } from './proxied.ts'
import type { TestGatewayOptions, runtimes } from './runtimes.ts'
import { openUpstream } from './upstream.ts'

interface Found {
  readonly flows: readonly ListedFlow[]
  readonly truncated: boolean
}

export const stepsOf = ({ steps }: ListedFlow) => steps.map(({ name, result }) => `${name} ${result}`)
export const credentials = ({ username, password }: typeof ana) => ({ username, password })

export const openFlowWorld = async (
  gatewayOf: (typeof runtimes)[number][1],
  config = {},
  more: Omit<Partial<TestGatewayOptions>, 'config'> = {},
) => {
  const upstream = await openUpstream()
  const house = await gatewayOf({
    upstream: upstream.url,
    config: { flows: {}, local_users: [ana, yamada], admins: ['ANA@example.com'], ...config },
    ...more,
  })
  const admin = await signInAs(house, ana)
  const ask = async (path: string, who: Administrator = admin) => {
    const { status, body } = await who.ask('GET', path)
    return { status, body: JSON.parse(body) as unknown }
  }
  return {
    house,
    admin,
    ask,
    flowOf: async (id: string) => (await ask(`/api/flows/${encodeURIComponent(id)}`)).body as ListedFlow,
    list: async (query = '', who = admin) => (await ask(`/api/flows${query}`, who)).body as Found,
    status: async ({ access_token }: Tokens) =>
      (await callerOf(house, `${house.origin}/echo/mcp`, access_token).post(call())).status,
    async close() {
      await house.close()
      await upstream.close()
    },
  }
}
export type FlowWorld = Awaited<ReturnType<typeof openFlowWorld>>

// What a client that listens is told when rules change: that its lists did, and nothing that the rules of now deny.
import { expect, it } from 'vitest'
import type { Principal } from '../../src/ports/people.ts'
import type { Policy, ServicePolicy } from '../../src/ports/policy.ts'
import type { Service } from '../../src/ports/services.ts'
import { createWatchLists } from '../../src/proxy/list-notices.ts'
import { createMessageFilter } from '../../src/proxy/server-messages.ts'

const service = { id: 'jira' } as Service

const principal = { personKey: 'local:ana' } as Principal

const open = (subscription?: object) => {
  let newest = principal
  const due: (() => void)[] = []
  let rules: Partial<ServicePolicy> | undefined = { outlook: () => 'one' }
  const policy = { fresh: () => undefined, of: () => rules } as unknown as Policy
  const watch = createWatchLists(
    policy,
    (_ms, run) => {
      due.push(run)
      return () => void due.splice(due.indexOf(run), 1)
    },
    () => newest,
  )
  const told: unknown[] = []
  const body = subscription && new TextEncoder().encode(JSON.stringify(subscription))
  const stop = watch({ service, principal, subscription: body }, (message) => told.push(JSON.parse(message)))
  return {
    told,
    stop,
    due,
    rule: (outlook: string | undefined) =>
      void (rules = outlook === undefined ? undefined : { outlook: () => outlook }),
    /** Other groups were read of the person. */
    regroup: () => void (newest = { ...principal }),
    outlookOf: (of: ServicePolicy['outlook']) => void (rules = { outlook: of }),
    async look() {
      due.shift()?.()
      await Promise.resolve()
    },
  }
}

const notification = (kind: string) => ({ jsonrpc: '2.0', method: `notifications/${kind}/list_changed` })

it('tells of each change once, of rules that come and of rules that go', async () => {
  const { told, rule, look } = open()
  await look()
  expect(told).toEqual([])
  rule('two')
  await look()
  await look()
  expect(told).toEqual(['tools', 'prompts', 'resources'].map(notification))
  rule(undefined)
  await look()
  expect(told.length).toBe(6)
})

it('tells of other groups of the user, which change what the same rules show', async () => {
  const { told, outlookOf, regroup, look } = open()
  outlookOf((who) => (who === principal ? 'one' : 'other'))
  await look()
  regroup()
  await look()
  await look()
  expect(told).toEqual(['tools', 'prompts', 'resources'].map(notification))
})

it('tells a subscription what it asked for, under its id (2026-07-28)', async () => {
  const params = { notifications: { promptsListChanged: true, toolsListChanged: false } }
  const { told, rule, look } = open({ jsonrpc: '2.0', id: 'a', method: 'subscriptions/listen', params })
  rule('two')
  await look()
  const meta = { _meta: { 'io.modelcontextprotocol/subscriptionId': 'a' } }
  expect(told).toEqual([{ ...notification('prompts'), params: meta }])
})

it('ends with the stream', async () => {
  const { told, rule, look, stop, due } = open()
  stop()
  rule('two')
  await look()
  expect([told, due]).toEqual([[], []])
})

it('judges what a server says by the rules of the moment', () => {
  let [readable, denied] = [true, new Set<'sampling'>()]
  const replies: unknown[] = []
  const filter = createMessageFilter(
    () => ({ denied, dropsInstructions: false }),
    { isReadable: () => readable, methods: [], listens: true, modern: false, announces: false },
    (reply) => void replies.push(reply['id']),
  )
  const updated = { method: 'notifications/resources/updated', params: { uri: 'doc://a' } }
  const asking = { id: 1, method: 'sampling/createMessage' }
  expect([filter?.(updated), filter?.(asking), replies]).toEqual([updated, asking, []])
  readable = false
  denied = new Set(['sampling'])
  expect([filter?.(updated), filter?.(asking), replies]).toEqual([undefined, undefined, [1]])
})

// The metrics: what is counted of the log and the trail, and that no series exists for what strangers choose.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type IncomingMessage, get } from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { type ServedMetrics, openMetrics } from '../../src/node/metrics.ts'
import type { Log } from '../../src/ports/runtime.ts'
import { root } from '../structure/tree.ts'

let metrics: ServedMetrics
let lines: unknown[][]
let log: Log
beforeEach(async () => {
  metrics = await openMetrics({
    host: '127.0.0.1',
    port: 0,
    about: { version: '9.9.9', runtime: 'node 24' },
  })
  lines = []
  log = metrics.observe((...line) => void lines.push(line))
})
afterEach(() => metrics.close())

const scrape = async (): Promise<string> => (await fetch(metrics.url)).text()
/** Those of Postern that are not zero, by name and labels. */
const values = async (): Promise<Readonly<Record<string, number>>> =>
  Object.fromEntries(
    [...(await scrape()).matchAll(/^((?:postern|mcp)_\S+) (\S+)$/gm)]
      .filter(([, name = '', value]) => value !== '0' && !/_bucket\{|build_info|reload/.test(name))
      .map(([, name, value]) => [name, Number(value)]),
  )

const call = (more: object = {}) =>
  log(
    'info',
    'call',
    { service: 'jira', method: 'tools/call', result: 'answered', duration_ms: 40, ...more },
    true,
  )

describe('the metrics', () => {
  it('pass every line of the log on as it is', () => {
    log('warn', 'refused', { refusal: 'token.expired' }, false, '{}')
    expect(lines).toEqual([['warn', 'refused', { refusal: 'token.expired' }, false, '{}']])
  })

  it('count calls by how they ended, with their time', async () => {
    call()
    call({ is_error: true })
    call({ result: 'failed', duration_ms: undefined })
    call({ result: 'refused', refusal: 'policy.tool' })
    log('info', 'websocket.message', { service: 'jira', method: 'ping' }, true)
    log('info', 'websocket.message', { service: 'jira', method: 'ping', refusal: 'policy.tool' }, true)
    const of = (outcome: string, method = 'tools/call') =>
      `postern_calls_total{service="jira",method="${method}",outcome="${outcome}"}`
    expect(await values()).toEqual({
      [of('answered')]: 1,
      [of('tool_error')]: 1,
      [of('failed')]: 1,
      [of('refused')]: 1,
      [of('answered', 'ping')]: 1,
      [of('refused', 'ping')]: 1,
      'mcp_server_operation_duration_seconds_count{service="jira",method="tools/call"}': 3,
      'mcp_server_operation_duration_seconds_sum{service="jira",method="tools/call"}': 0.12,
    })
    expect(await scrape()).toContain(
      'mcp_server_operation_duration_seconds_bucket{le="0.05",service="jira",method="tools/call"} 3',
    )
  })

  it('count what happens at a login and afterwards', async () => {
    for (const [event, fields = {}] of [
      ['refused', { refusal: 'token.expired' }],
      ['sign-in'],
      ['client.registered'],
      ['consent.allowed'],
      ['consent.denied'],
      ['grant.issued'],
      ['grant.issued', { kind: 'client_credentials' }],
      ['exchange.issued', {}],
      ['grant.refreshed'],
      ['access.ended', { grants: 3 }],
      ['code.replayed'],
      ['refresh.reuse'],
      ['connection.made'],
      ['upstream.refresh-failed'],
      ['process.started'],
      ['audit.lost', { rows: 7 }],
    ] as const)
      log('info', event, fields, true)
    log('error', 'fault', {})
    expect(await values()).toEqual({
      'postern_refused_total{code="token.expired"}': 1,
      'postern_sign_ins_total': 1,
      'postern_clients_registered_total': 1,
      'postern_consents_total{decision="allowed"}': 1,
      'postern_consents_total{decision="denied"}': 1,
      'postern_tokens_issued_total{grant="authorization_code"}': 1,
      'postern_tokens_issued_total{grant="client_credentials"}': 1,
      'postern_tokens_issued_total{grant="exchange"}': 1,
      'postern_tokens_issued_total{grant="refresh_token"}': 1,
      'postern_grants_ended_total': 3,
      'postern_replays_total{kind="code"}': 1,
      'postern_replays_total{kind="refresh_token"}': 1,
      'postern_upstream_connections_total{event="made"}': 1,
      'postern_upstream_connections_total{event="refresh_failed"}': 1,
      'postern_stdio_processes_started_total': 1,
      'postern_audit_lost_events_total': 7,
      'postern_log_events_total{level="error"}': 1,
    })
  })

  it('tell the health of storage, trail and servers as it is at the scrape', async () => {
    expect(await scrape()).not.toContain('postern_audit_up')
    metrics.watch(() =>
      Promise.resolve({
        storage: { healthy: true },
        audit: { healthy: false },
        services: { jira: { status: 'healthy' }, wiki: { status: 'degraded' }, new: { status: 'unknown' } },
      }),
    )
    const text = await scrape()
    for (const line of [
      'postern_store_up 1',
      'postern_audit_up 0',
      'postern_service_up{service="jira"} 1',
      'postern_service_up{service="wiki"} 0',
      'postern_config_last_reload_successful 1',
      'postern_build_info{version="9.9.9",runtime="node 24"} 1',
    ])
      expect(text.split('\n')).toContain(line)
    expect(text).not.toContain('service="new"')
    log('error', 'config.refused', {})
    expect(await scrape()).toContain('postern_config_last_reload_successful 0')
  })

  it('have no series for what strangers choose', async () => {
    for (let i = 0; i < 10_000; i++) {
      call({ method: `m${i}`, name: `tool${i}`, client: `c${i}`, person: `p${i}` })
      log('info', 'refused', { refusal: `x${i}`, path: `/p${i}` })
    }
    expect(await values()).toEqual({
      'postern_calls_total{service="jira",method="other",outcome="answered"}': 10_000,
      'mcp_server_operation_duration_seconds_count{service="jira",method="other"}': 10_000,
      'mcp_server_operation_duration_seconds_sum{service="jira",method="other"}': expect.closeTo(400, 3),
      'postern_refused_total{code="other"}': 10_000,
    })
  })

  it('have a series for no more than 1,000 services', async () => {
    for (let i = 0; i < 1_500; i++) call({ service: `s${i}` })
    const counted = Object.keys(await values()).filter((name) => name.startsWith('postern_calls_total'))
    expect(counted).toHaveLength(1_001)
    expect(counted.some((name) => name.includes('service="other"'))).toBe(true)
  })

  it('answer at one path, to GET, and never to a page that came under another name', async () => {
    expect((await fetch(metrics.url)).headers.get('content-type')).toBe(
      'text/plain; version=0.0.4; charset=utf-8',
    )
    expect((await fetch(metrics.url.replace('/metrics', '/'))).status).toBe(404)
    expect((await fetch(metrics.url, { method: 'POST' })).status).toBe(405)
    expect((await fetch(metrics.url.replace('127.0.0.1', 'localhost'))).status).toBe(200)
    // fetch() sets the Host header itself.
    const [rebound] = (await once(get(metrics.url, { headers: { host: 'page.example' } }), 'response')) as [
      IncomingMessage,
    ]
    expect(rebound.statusCode).toBe(403)
    rebound.resume()
  })
})

describe('the dashboard', () => {
  interface Panel {
    readonly id: number
    readonly title: string
    readonly type: string
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
  }
  const { panels, templating } = JSON.parse(
    readFileSync(join(root, 'examples/grafana/postern.json'), 'utf8'),
  ) as {
    readonly panels: readonly Panel[]
    readonly templating: { readonly list: readonly { readonly name: string; readonly query: string }[] }
  }
  const queries = [
    ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...templating.list.map(({ query }) => query).filter((query) => query !== 'prometheus'),
  ]

  it('asks for metrics and labels that a scrape has', async () => {
    metrics.watch(() =>
      Promise.resolve({ audit: { healthy: true }, services: { jira: { status: 'healthy' } } }),
    )
    const told: readonly [string, object?][] = [
      ...(['refused', 'consent.allowed', 'grant.issued', 'connection.made', 'sign-in'] as const).map(
        (event) => [event, { refusal: 'token.expired' }] as [string, object],
      ),
      ['refresh.reuse'],
    ]
    call()
    for (const [event, fields = {}] of told) log('warn', event, fields as Record<string, unknown>, true)
    const scraped = new Map<string, Set<string>>()
    for (const [, name = '', labels = ''] of (await scrape()).matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm))
      scraped.set(name, new Set([...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label)))
    // Prometheus adds these.
    const everywhere = ['job', 'instance']
    for (const query of queries) {
      const asked = [...query.matchAll(/\b(?:postern|mcp|process|nodejs)_\w+/g)].map(([name]) => name)
      expect([query, asked.length > 0]).toEqual([query, true])
      for (const name of asked) {
        expect([query, name, scraped.has(name)]).toEqual([query, name, true])
        const known = new Set([...everywhere, ...(scraped.get(name) ?? [])])
        const used = [
          ...[...query.matchAll(/(\w+)=~?"/g)].map(([, label = '']) => label),
          ...[...query.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/, */)),
          ...[...query.matchAll(/^label_values\(\w+, (\w+)\)$/g)].map(([, label = '']) => label),
        ]
        expect([query, used.filter((label) => !known.has(label))]).toEqual([query, []])
      }
    }
    const legends = panels.flatMap(({ targets = [] }) => targets)
    for (const { expr, legendFormat } of legends)
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
        expect([expr, label, label === 'instance' || expr.includes(label)]).toEqual([expr, label, true])
  })

  it('has every metric of Postern, and panels that do not overlap', () => {
    const all = queries.join('\n')
    const guide = readFileSync(join(root, 'docs/guide/metrics.md'), 'utf8')
    for (const [, name = ''] of guide.matchAll(/^\| `((?:postern|mcp)_\w+)` \|/gm))
      expect([name, all.includes(name)]).toEqual([name, true])
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    )
    expect(new Set(cells).size).toBe(cells.length)
    expect(panels.every(({ gridPos: { x, w } }) => x + w <= 24)).toBe(true)
  })
})

describe('the guide about metrics', () => {
  const guide = readFileSync(join(root, 'docs/guide/metrics.md'), 'utf8')

  it('lists every metric with its type and labels', async () => {
    metrics.watch(() => Promise.resolve({ audit: { healthy: true } }))
    const types = [...(await scrape()).matchAll(/^# TYPE ((?:postern|mcp)_\w+) (\w+)$/gm)]
    const rows = [...guide.matchAll(/^\| `((?:postern|mcp)_\w+)` \| (\w+) \|/gm)]
    expect(Object.fromEntries(rows.map(([, name, type]) => [name, type]))).toEqual(
      Object.fromEntries(types.map(([, name, type]) => [name, type])),
    )
  })

  it('has a runbook for every alert, whose metrics exist', () => {
    const { groups } = parse(readFileSync(join(root, 'examples/prometheus/alerts.yml'), 'utf8')) as {
      groups: {
        rules: {
          alert: string
          expr: string
          for: string
          labels: { severity: string }
          annotations: { summary: string; runbook: string }
        }[]
      }[]
    }
    const rules = groups.flatMap((group) => group.rules)
    expect(rules.length).toBeGreaterThan(5)
    for (const { alert, expr, for: duration, labels, annotations } of rules) {
      expect(duration).toMatch(/^\d+m$/)
      expect(['warning', 'critical']).toContain(labels.severity)
      expect(annotations.summary).toMatch(/\.$/)
      expect(annotations.runbook).toBe(`docs/guide/metrics.md#${alert.toLowerCase()}`)
      expect(guide).toContain(`\n### ${alert}\n`)
      for (const [name] of expr.matchAll(/postern_\w+/g)) expect(guide).toContain(`| \`${name}\` |`)
    }
  })
})

// `npm run prove alerts`: the shipped alert rules are checked by promtool, and then fired: Prometheus scrapes the metrics
// of this version, and Alertmanager tells a webhook. Needs prometheus and prometheus-alertmanager (Debian:
// apt-get install prometheus prometheus-alertmanager).
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createServer } from 'node:http'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as pause } from 'node:timers/promises'
import { parse, stringify } from 'yaml'
import { type ServedMetrics, openMetrics } from '../src/node/metrics.ts'
import { freePort } from './harness/free-port.ts'
import { createVerdicts } from './harness/verdict.ts'

const verdicts = createVerdicts('alerts')
const shipped = fileURLToPath(new URL('../examples/prometheus/alerts.yml', import.meta.url))
const needed = ['promtool', 'prometheus', 'prometheus-alertmanager']
const missing = needed.filter((program) => spawnSync('which', [program]).status !== 0)
if (missing.length > 0) {
  console.error(
    `This proof needs ${needed.join(', ')}; missing: ${missing.join(', ')}. Debian: apt-get install prometheus prometheus-alertmanager`,
  )
  process.exit(1)
}

interface Rule {
  readonly alert: string
  readonly expr: string
  for: string
}
const rulesOf = () =>
  parse(readFileSync(shipped, 'utf8')) as { readonly groups: readonly { readonly rules: readonly Rule[] }[] }

const promtool = (args: readonly string[], input?: string) => {
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8', input: input ?? '' })
  return { ok: status === 0, said: `${stdout}${stderr}`.trim().split('\n').slice(-4).join(' ') }
}

// By promtool: the rules, the metrics, and when each rule fires.

/** Series for each alert that make it fire after so many minutes, and none before. */
const unitTests: Readonly<
  Record<string, { readonly series: Readonly<Record<string, string>>; readonly at: string }>
> = {
  PosternDown: { series: { 'up{job="postern"}': '0x20' }, at: '2m' },
  PosternStorageDown: { series: { 'postern_store_up{job="postern"}': '0x20' }, at: '2m' },
  PosternAuditDown: { series: { 'postern_audit_lost_events_total{job="postern"}': '0 0 5x20' }, at: '5m' },
  PosternServiceDown: { series: { 'postern_service_up{job="postern",service="jira"}': '0x20' }, at: '6m' },
  PosternCallsFail: {
    series: {
      'postern_calls_total{job="postern",service="jira",outcome="failed"}': '0+6x20',
      'postern_calls_total{job="postern",service="jira",outcome="answered"}': '0+60x20',
    },
    at: '12m',
  },
  PosternReplay: { series: { 'postern_replays_total{job="postern",kind="code"}': '0 0 1x20' }, at: '3m' },
  PosternConfigurationRefused: {
    series: { 'postern_config_last_reload_successful{job="postern"}': '0x20' },
    at: '6m',
  },
}

const healthy = {
  'up{job="postern"}': '1x20',
  'postern_store_up{job="postern"}': '1x20',
  'postern_audit_up{job="postern"}': '1x20',
  'postern_service_up{job="postern",service="jira"}': '1x20',
  'postern_replays_total{job="postern",kind="code"}': '3x20',
  'postern_config_last_reload_successful{job="postern"}': '1x20',
  'postern_calls_total{job="postern",service="jira",outcome="answered"}': '0+60x20',
}

const checkRules = (folder: string): void => {
  const rules = promtool(['check', 'rules', shipped])
  verdicts.claim(rules.ok, 'promtool accepts the rules', rules.said)
  const names = rulesOf().groups.flatMap((group) => group.rules.map(({ alert }) => alert))
  const untested = names.filter((name) => !(name in unitTests))
  verdicts.claim(
    untested.length === 0,
    'every alert is fired here',
    untested.join(', ') || `${names.length} alerts`,
  )
  for (const [alert, { series, at }] of Object.entries(unitTests)) {
    const test = (name: string, input: Readonly<Record<string, string>>, fires: boolean) => {
      const file = join(folder, `${alert}-${name}.yml`)
      const values = Object.entries(input).map(([one, of]) => ({ series: one, values: of }))
      // promtool compares labels and annotations whole; a query on ALERTS asks for what matters.
      const expr = `count(ALERTS{alertname="${alert}",alertstate="firing"}) or vector(0)`
      const query = { expr, eval_time: at, exp_samples: [{ labels: '{}', value: fires ? 1 : 0 }] }
      writeFileSync(
        file,
        stringify({
          rule_files: [shipped],
          evaluation_interval: '15s',
          tests: [{ interval: '1m', input_series: values, promql_expr_test: [query] }],
        }),
      )
      return promtool(['test', 'rules', file])
    }
    const fired = test('fires', series, true)
    verdicts.claim(fired.ok, `${alert} fires`, fired.ok ? `at ${at}` : fired.said)
    const quiet = test('quiet', healthy, false)
    verdicts.claim(quiet.ok, `${alert} is quiet while all is well`, quiet.ok ? `at ${at}` : quiet.said)
  }
}

// By Prometheus and Alertmanager.

const children: ChildProcess[] = []
const start = (program: string, args: readonly string[]): void => {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr?.on('data', (text: Buffer) => (said = `${said}${text.toString()}`.slice(-2000)))
  child.on('exit', (code) => {
    if (code) console.error(`${program} ended with ${code}: ${said}`)
  })
  children.push(child)
}

/** Alerts by name, as the webhook heard of them last. */
const openWebhook = async () => {
  const heard = new Map<string, string[]>()
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const { alerts } = JSON.parse(Buffer.concat(parts).toString()) as {
        readonly alerts: readonly {
          readonly status: string
          readonly labels: { readonly alertname: string }
        }[]
      }
      for (const { status, labels } of alerts)
        heard.set(labels.alertname, [...(heard.get(labels.alertname) ?? []), status])
      response.end()
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return {
    heard,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => server.close(),
  }
}

const until = async (condition: () => boolean | Promise<boolean>, ms: number): Promise<boolean> => {
  for (let waited = 0; waited < ms && !(await condition()); waited += 100) await pause(100)
  return condition()
}

/** Whether Prometheus has seen the calls twice. */
const hasScraped = async (prometheus: string): Promise<boolean> => {
  const query = encodeURIComponent('count_over_time(postern_calls_total[1m]) >= 2')
  const response = await fetch(`${prometheus}/api/v1/query?query=${query}`).catch(() => undefined)
  const { data } = ((await response?.json().catch(() => undefined)) ?? {}) as {
    readonly data?: { readonly result: readonly unknown[] }
  }
  return (data?.result.length ?? 0) > 0
}

/** Answers the URL of Prometheus. */
const startServers = async (folder: string, target: string, webhook: string): Promise<string> => {
  const [prometheus, alertmanager] = [await freePort(), await freePort()]
  const rules = rulesOf()
  // The same rules, without the time that they wait for.
  for (const group of rules.groups) for (const rule of group.rules) rule.for = '0s'
  writeFileSync(join(folder, 'alerts.yml'), stringify(rules))
  writeFileSync(
    join(folder, 'prometheus.yml'),
    stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [join(folder, 'alerts.yml')],
      scrape_configs: [{ job_name: 'postern', static_configs: [{ targets: [target] }] }],
      alerting: { alertmanagers: [{ static_configs: [{ targets: [`127.0.0.1:${alertmanager}`] }] }] },
    }),
  )
  writeFileSync(
    join(folder, 'alertmanager.yml'),
    stringify({
      route: { receiver: 'webhook', group_by: ['alertname'], group_wait: '0s', group_interval: '1s' },
      receivers: [{ name: 'webhook', webhook_configs: [{ url: webhook, send_resolved: true }] }],
    }),
  )
  const config = promtool(['check', 'config', join(folder, 'prometheus.yml')])
  verdicts.claim(config.ok, 'promtool accepts the configuration with the rules', config.said)
  start('prometheus-alertmanager', [
    ...[`--config.file=${join(folder, 'alertmanager.yml')}`, `--storage.path=${join(folder, 'am')}`],
    ...[`--web.listen-address=127.0.0.1:${alertmanager}`, '--cluster.listen-address='],
  ])
  start('prometheus', [
    ...[`--config.file=${join(folder, 'prometheus.yml')}`, `--storage.tsdb.path=${join(folder, 'tsdb')}`],
    ...[`--web.listen-address=127.0.0.1:${prometheus}`, '--rules.alert.resend-delay=1s'],
  ])
  return `http://127.0.0.1:${prometheus}`
}

const sick = {
  storage: { healthy: false },
  audit: { healthy: false },
  services: { jira: { status: 'degraded' } },
}
const well = {
  storage: { healthy: true },
  audit: { healthy: true },
  services: { jira: { status: 'healthy' } },
}

const fireAll = async (
  { metrics, prometheus }: { readonly metrics: ServedMetrics; readonly prometheus: string },
  state: { health: object },
  heard: ReadonlyMap<string, string[]>,
) => {
  const log = metrics.observe(() => undefined)
  log('info', 'call', { service: 'jira', method: 'tools/call', result: 'failed' })
  const scraped = await until(() => hasScraped(prometheus), 60_000)
  verdicts.claim(scraped, 'Prometheus scrapes the metrics', metrics.url)
  // Two evaluations, and the way to the webhook.
  await pause(3000)
  verdicts.claim(heard.size === 0, 'no alert fires while all is well', [...heard.keys()].join(', ') || 'none')
  state.health = sick
  log('warn', 'refresh.reuse', {})
  log('warn', 'config.refused', {})
  for (let i = 0; i < 5; i++) log('info', 'call', { service: 'jira', method: 'tools/call', result: 'failed' })
  const began = performance.now()
  const wanted = rulesOf()
    .groups.flatMap((group) => group.rules.map(({ alert }) => alert))
    .filter((alert) => alert !== 'PosternDown')
  for (const alert of wanted) {
    const fired = await until(() => heard.get(alert)?.includes('firing') === true, 60_000)
    verdicts.claim(
      fired,
      `${alert} reaches the webhook`,
      `after ${Math.round((performance.now() - began) / 1000)} s`,
    )
  }
  state.health = well
  log('info', 'config.reloaded', {})
  for (const alert of ['PosternStorageDown', 'PosternServiceDown', 'PosternConfigurationRefused']) {
    const resolved = await until(() => heard.get(alert)?.at(-1) === 'resolved', 60_000)
    verdicts.claim(resolved, `${alert} is resolved`, heard.get(alert)?.join(', ') ?? 'nothing')
  }
  metrics.close()
  const down = await until(() => heard.get('PosternDown')?.includes('firing') === true, 60_000)
  verdicts.claim(down, 'PosternDown reaches the webhook', heard.get('PosternDown')?.join(', ') ?? 'nothing')
}

const folder = mkdtempSync(join(tmpdir(), 'postern-alerts-'))
try {
  checkRules(folder)
  const state: { health: object } = { health: well }
  const metrics = await openMetrics({ host: '127.0.0.1', port: 0, about: { version: '0', runtime: 'node' } })
  metrics.watch(() => Promise.resolve(state.health))
  const scraped = promtool(['check', 'metrics'], await (await fetch(metrics.url)).text())
  verdicts.claim(scraped.ok, 'promtool finds nothing wrong with the metrics', scraped.said || 'nothing')
  const webhook = await openWebhook()
  const prometheus = await startServers(folder, new URL(metrics.url).host, webhook.url)
  await fireAll({ metrics, prometheus }, state, webhook.heard)
  webhook.close()
} finally {
  for (const child of children) child.kill('SIGTERM')
  await pause(500)
  rmSync(folder, { recursive: true, force: true })
}
verdicts.end()

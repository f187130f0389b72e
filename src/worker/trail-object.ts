// The Durable Object of the audit trail. There is one, so its rows are in one order and searched together.
import { DurableObject } from 'cloudflare:workers'
import packageJson from '../../package.json' with { type: 'json' }
import type {
  TrailCombinations,
  TrailCounts,
  TrailCountsAsked,
  TrailPage,
  TrailSearch,
} from '../ports/runtime.ts'
import type { AuditBody, ChainFault, ChainedRow } from '../ports/store.ts'
import type { TrailOutline } from '../stores/audit-check.ts'
import type { AuditKey } from '../stores/audit-signatures.ts'
import type { WorkerEnvironment } from './configuration.ts'
import type { Appended, AppendedRows, TrailCalls } from './trail-calls.ts'
import type { TrailStore } from './trail-store.ts'

/** Rows are anchored after so long at the latest. */
const anchorMs = 60_000
/** When nothing else is due, what is too old is looked for. */
const restMs = 21_600_000
const busyMs = 1_000

export class TrailObject extends DurableObject<WorkerEnvironment> implements TrailCalls {
  #store: Promise<TrailStore> | undefined

  /** Epoch ms; the machine's clock unless a test moves it. */
  protected now(): number {
    return Date.now()
  }

  /** Its code is evaluated where it is used: gateways without a trail need none of it. */
  async #open(): Promise<TrailStore> {
    const { openTrailStore } = await import('./trail-store.ts')
    return openTrailStore({
      storage: this.ctx.storage,
      env: this.env,
      version: packageJson.version,
      now: () => this.now(),
    })
  }

  async #opened(): Promise<TrailStore> {
    this.#store ??= this.#open()
    try {
      return await this.#store
    } catch (error) {
      this.#store = undefined
      throw error
    }
  }

  async append(rows: AppendedRows): Promise<Appended> {
    const appended = (await this.#opened()).append(rows)
    this.ctx.waitUntil(this.#alarm(anchorMs))
    return appended
  }

  async page(search: TrailSearch): Promise<TrailPage> {
    return (await this.#opened()).page(search)
  }

  async counts(asked: TrailCountsAsked): Promise<TrailCounts> {
    return (await this.#opened()).counts(asked)
  }

  async combinations(terms: readonly string[]): Promise<TrailCombinations> {
    return (await this.#opened()).combinations(terms)
  }

  async body(hash: string): Promise<AuditBody | undefined> {
    return (await this.#opened()).body(hash)
  }

  async keys(): Promise<readonly AuditKey[]> {
    return (await this.#opened()).keys()
  }

  async outline(): Promise<TrailOutline> {
    return (await this.#opened()).outline()
  }

  async rows(segment: number, after: number, most: number): Promise<readonly ChainedRow[]> {
    return (await this.#opened()).rows(segment, after, most)
  }

  async kept(): Promise<ChainFault | undefined> {
    return (await this.#opened()).kept()
  }

  /** The platform calls again after an error, later each time. */
  override async alarm(): Promise<void> {
    const more = (await this.#opened()).tidy()
    await this.#alarm(more ? busyMs : restMs)
  }

  /** At that time at the latest, by the platform's clock. */
  async #alarm(inMs: number): Promise<void> {
    const set = await this.ctx.storage.getAlarm()
    const at = Date.now() + inMs
    if (set === null || at < set) await this.ctx.storage.setAlarm(at)
  }
}

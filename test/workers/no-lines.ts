// The class of sessions on a line, for Workers of tests that have none: wrangler.jsonc names it.
import { DurableObject } from 'cloudflare:workers'

export class LineObject extends DurableObject {}

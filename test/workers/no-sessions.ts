// The class of session objects, for Workers of tests that have no sessions: wrangler.jsonc names it.
import { DurableObject } from 'cloudflare:workers'

export class SessionObject extends DurableObject {}

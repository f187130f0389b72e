// The classes of session objects and of the audit trail, for Workers of tests that have neither: wrangler.jsonc names them.
import { DurableObject } from 'cloudflare:workers'

export class SessionObject extends DurableObject {}

export class TrailObject extends DurableObject {}

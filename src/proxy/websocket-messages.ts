// Messages of a client's WebSocket to a WebSocket server: each is judged as a call over HTTP is, before the server hears it.
import { encodeMirrored, checkAgreement } from '../mcp/agreement.ts'
import { type Envelope, metaKeys } from '../mcp/envelope.ts'
import { isModern } from '../mcp/revisions.ts'
import type { Guard } from '../ports/rooms.ts'
import { cancelledId, isResponse, keyOf, messagesOf } from './rpc-text.ts'
import { callerKey, type TakeSlot } from './slots.ts'
import type { Opening } from './websocket-far.ts'

export interface MessagesDeps {
  readonly guard: Guard
  /** A request takes one until its answer has passed. */
  readonly callSlot: TakeSlot
  /** Revisions that are let through, newest first. */
  readonly supported: readonly string[]
  readonly now: () => number
}

interface Pending {
  readonly key: string
  readonly release: () => void
  /** Epoch ms after which nobody waits for the answer any more. */
  readonly until: number
}

export interface Messages {
  /** Rejects with the refusal of a message that the server must not hear. `text`: of a notification, for the request that it cancels. */
  admit(envelope: Envelope, text: string): Promise<void>
  /** Something that the server said. */
  heard(text: string): void
  /** The socket is closed. */
  end(): void
}

/** A message on a WebSocket has no header fields; what it claims in its body must be whole, and of a revision that is let through. */
const checkRevision = (envelope: Envelope, supported: readonly string[]): void => {
  const [message] = envelope.messages
  const claim = message?.meta?.[metaKeys.version]
  const version = typeof claim === 'string' && isModern(claim) ? claim : undefined
  const name = message?.name === undefined ? undefined : encodeMirrored(message.name)
  checkAgreement(envelope, version === undefined ? nothing : { version, method: message?.method, name }, supported)
}

const nothing = { version: undefined, method: undefined, name: undefined }

export const createMessages = (deps: MessagesDeps, { call, principal }: Opening): Messages => {
  const { guard, callSlot, supported, now } = deps
  const { address, inbound, origin, head } = call
  const caller = callerKey(principal, head.ip)
  let pending: Pending[] = []

  /** Gives back what is no longer waited for: the answer to `key`, and what took longer than a call may. */
  const settle = (key: string | undefined): void => {
    const at = now()
    const index = pending.findIndex((each) => each.key === key)
    pending = pending.filter((each, place) => {
      const stays = place !== index && each.until > at
      if (!stays) each.release()
      return stays
    })
  }

  return {
    async admit(envelope, text) {
      const [message] = envelope.messages
      if (address.service.authRequired) await guard(inbound.authorization, address, origin)
      checkRevision(envelope, supported)
      if (message?.method === 'notifications/cancelled') {
        for (const { message: said } of messagesOf(text)) settle(keyOf(cancelledId(said)))
      }
      if (message?.kind !== 'request') return
      settle(undefined)
      pending.push({ key: keyOf(message.id), release: callSlot(caller), until: now() + address.service.timeoutMs })
    },
    heard(text) {
      if (pending.length === 0) return
      for (const { message } of messagesOf(text)) if (isResponse(message)) settle(keyOf(message['id']))
    },
    end() {
      for (const { release } of pending) release()
      pending = []
    },
  }
}

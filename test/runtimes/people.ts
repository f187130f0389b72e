// Two people of one gateway, each with their own client, and the calls they make.
import { createBrowser } from './browser.ts'
import type { TestGateway } from './runtimes.ts'
import { allow, authorizeUrl, type LoginTarget, redeem, register } from './login.ts'

export interface Somebody {
  readonly username: string
  readonly password: string
  readonly email?: string
  readonly name?: string
  readonly groups?: string[]
}

export const ana: Somebody = {
  username: 'ana',
  password: 'correct horse battery',
  email: 'ana@example.com',
  name: 'Ana Example',
  groups: ['staff'],
}
export const yamada: Somebody = {
  username: 'yamada',
  password: 'battery horse correct',
  email: 'taro@example.com',
  name: '山田 太郎',
  groups: ['a,b', 'c'],
}

/** A fresh client of this person, with a token for the resource. */
export const tokenOf = async (house: TestGateway, who: Somebody, resource: string): Promise<string> => {
  const client = await register(house)
  const asking = authorizeUrl(house, client, { resource })
  const back = await allow(createBrowser(house.fetch, house.origin), asking.url, who)
  const response = await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier)
  return ((await response.json()) as { access_token: string }).access_token
}

export interface Caller {
  readonly token: string
  readonly url: string
  post(message: unknown, headers?: Record<string, string>, more?: RequestInit): Promise<Response>
  get(headers?: Record<string, string>, more?: RequestInit): Promise<Response>
  delete(headers?: Record<string, string>): Promise<Response>
}

/** Calls of one token at one URL, with the headers that every MCP client sends. */
export const callerOf = (house: LoginTarget, url: string, token: string): Caller => {
  const auth: Record<string, string> = token === '' ? {} : { authorization: `Bearer ${token}` }
  return {
    token,
    url,
    post: (message, headers = {}, more = {}) =>
      house.fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          ...auth,
          ...headers,
        },
        body: typeof message === 'string' ? message : JSON.stringify(message),
        ...more,
      }),
    get: (headers = {}, more = {}) =>
      house.fetch(url, { headers: { accept: 'text/event-stream', ...auth, ...headers }, ...more }),
    delete: (headers = {}) => house.fetch(url, { method: 'DELETE', headers: { ...auth, ...headers } }),
  }
}

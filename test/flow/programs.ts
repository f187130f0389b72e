// Programs that have no user in front of them, and two users: what the tests of both have in common.
import { exportJWK, generateKeyPair } from 'jose'
import { ana, yamada } from '../runtimes/people.ts'

export const secrets = { basic: 'Kq7vX2mZ9tLw4sRb8nYc1fHd6gJp3aUe', post: 'Zt5rM8kW1xQ7pLc4vNb9yHs2dFg6jUaE' }
export const keys = await Promise.all([
  generateKeyPair('ES256'),
  generateKeyPair('ES256', { extractable: true }),
])
const jwks = {
  keys: await Promise.all(keys.map(async ({ publicKey }) => ({ ...(await exportJWK(publicKey)) }))),
}

export const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange' as const

const client = <More>(more: More) => ({
  name: 'Nightly job',
  grant_types: ['client_credentials' as const],
  ...more,
})

export const config = {
  admins: ['local:ana', 'service:operator'],
  local_users: [ana, yamada],
  access: {
    allow: [
      { groups: ['service:ci'], services: ['ruled', 'second'], permissions: ['write' as const] },
      { people: ['local:ana'], permissions: ['admin' as const] },
      { people: ['local:yamada'], services: ['ruled'], permissions: ['execute' as const] },
      { people: ['local:yamada'], services: ['streams'], permissions: ['read' as const] },
    ],
  },
  service_accounts: {
    nightly: { name: 'Nightly', groups: ['ci'], services: ['ruled', 'second'] },
    reader: { groups: ['ci'], services: ['ruled'], permissions: ['read' as const] },
    idle: { services: ['*'] },
    operator: { services: ['/api'] },
  },
  token_exchange: [
    { client: 'agent', subject_clients: ['people'], services: ['second'] },
    {
      client: 'agent',
      subject_clients: ['people'],
      services: ['ruled'],
      permissions: ['write' as const],
    },
    { client: 'tail', subject_clients: ['agent'], services: ['*'], depth: 2 },
    { client: 'agent', subject_clients: ['tail'], services: ['second'], depth: 2 },
  ],
  clients: {
    'basic': client({
      service_account: 'nightly',
      token_endpoint_auth_method: 'client_secret_basic' as const,
      client_secret: secrets.basic,
    }),
    'post': client({
      service_account: 'reader',
      token_endpoint_auth_method: 'client_secret_post' as const,
      client_secret: secrets.post,
    }),
    'key': client({
      service_account: 'nightly',
      token_endpoint_auth_method: 'private_key_jwt' as const,
      jwks,
    }),
    'idle': client({
      service_account: 'idle',
      token_endpoint_auth_method: 'client_secret_post' as const,
      client_secret: 'Pw3nR6vT9yB2eH5kM8qS1uX4zC7fJ0aL',
    }),
    'ops': client({
      service_account: 'operator',
      token_endpoint_auth_method: 'client_secret_post' as const,
      client_secret: 'Nm4bV7cX0zL3kJ6hG9fD2sA5pO8iU1yT',
    }),
    'agent': {
      name: 'Agent',
      grant_types: ['client_credentials' as const, exchangeGrant],
      service_account: 'nightly',
      token_endpoint_auth_method: 'client_secret_post' as const,
      client_secret: 'Xc8vB1nM4kJ7hG0fD3sA6pO9iU2yT5rE',
    },
    'tail': {
      name: 'Tail',
      grant_types: [exchangeGrant],
      token_endpoint_auth_method: 'client_secret_post' as const,
      client_secret: 'Qw2eR5tY8uI1oP4aS7dF0gH3jK6lZ9xC',
    },
    'open': { name: 'Open', redirect_uris: ['https://open.example/cb'] },
    'people': {
      name: 'People',
      redirect_uris: ['https://people.example/cb'],
      token_endpoint_auth_method: 'client_secret_post' as const,
      client_secret: 'Hb4dG7jL0nQ3tV6xA9cE2gK5mP8rU1wZ',
    },
  },
}

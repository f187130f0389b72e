// What the guides print as configuration is one that the gateway takes.
import { expect, it } from 'vitest'
import { pages } from './markdown.ts'
import { faultsOf } from '../unit/config-world.ts'

const examples = pages().flatMap(({ path, text }) =>
  [...text.matchAll(/^```ya?ml\n([\s\S]*?)^```/gm)]
    .map(([, yaml = ''], i) => ({ path, i, yaml }))
    .filter(({ yaml }) => /^(mcp_services|oauth_providers|issuer):/m.test(yaml)),
)

const urls: Readonly<Record<string, string>> = {
  REDIS_URL: 'rediss://redis.example.com',
  POSTGRES_URL: 'postgres://postern:password@db.example.com/postern',
}

it.each(examples)('$path, example $i', async ({ yaml }) => {
  const env = Object.fromEntries(
    [...yaml.matchAll(/\$\{([A-Z][A-Z0-9_]*)\}/g)].map(([, name = ''], i) => [
      name,
      urls[name] ?? `value-${i}-of-a-variable-that-is-long-enough`,
    ]),
  )
  // Somebody can sign in: examples leave out what they are not about.
  expect(
    await faultsOf(yaml, { env: { ...env, LOCAL_USER: 'ana', LOCAL_PASSWORD: 'correct horse battery' } }),
  ).toEqual([])
})

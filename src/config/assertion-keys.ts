// `assertion_issuers`: whose signed word is taken for who somebody is, without a browser.
import * as z from 'zod'
import { duration, httpUrl, optionalDuration, serviceId, text } from './key-types.ts'

export const issuerTypes = ['id_jag', 'workload'] as const

const ruleKeys = z
  .strictObject({
    claims: z
      .record(z.string().min(1), z.string().min(1))
      .describe(
        'Claims that the assertion must have, all of them. A key is the name of a claim, or its path (`kubernetes.io/namespace`). The value is exact; `*` stands for any characters but `/` and `:`. Numbers and booleans are written as text.',
      ),
    service_account: text('The entry of `service_accounts` that such a program acts as.'),
  })
  .describe('Which program acts as which service account. The first rule that matches counts.')

export const assertionIssuerKeys = z
  .strictObject({
    type: z
      .enum(issuerTypes)
      .describe(
        '`id_jag`: Identity Assertion Authorization Grants (ID-JAG) for users, from a company’s identity provider. `workload`: tokens by which a platform (GitHub Actions, Kubernetes, SPIFFE) says which program it runs.',
      ),
    issuer: httpUrl()
      .optional()
      .describe(
        'The `iss` of its assertions, exactly. Keys are found by its metadata unless `jwks` or `jwks_uri` is set. Required, except with `trust_domain`.',
      ),
    trust_domain: z
      .string()
      .regex(
        /^[a-z0-9._-]{1,255}$/,
        'must be a SPIFFE trust domain such as "prod.example", without spiffe://',
      )
      .optional()
      .describe(
        'For type `workload`: the SPIFFE trust domain whose JWT-SVIDs are accepted. They may have no `iss`; if they have one, set `issuer` too.',
      ),
    jwks_uri: httpUrl()
      .optional()
      .describe('URL of the public keys. Default: `jwks_uri` in the metadata of `issuer`.'),
    jwks: z
      .strictObject({
        keys: z.array(z.record(z.string(), z.unknown())).min(1).describe('JSON Web Keys (public keys only).'),
      })
      .optional()
      .describe('The public keys, if the gateway cannot or should not fetch them.'),
    allow_origins: z
      .array(httpUrl())
      .default([])
      .describe(
        'Origins on private addresses from which metadata and keys may be fetched, for example `https://kubernetes.default.svc`.',
      ),
    audience: text(
      'For type `workload`: an `aud` that is accepted beside the gateway’s public URL and the URL of its token endpoint.',
    ).optional(),
    audiences: z
      .enum(['only', 'contains'])
      .default('only')
      .describe(
        'For type `workload`: `only` accepts one audience. `contains` also accepts assertions that name others beside the gateway; each of these could then use the assertion here.',
      ),
    max_lifetime: optionalDuration(
      's',
      ['1m', '1d'],
      'The longest that an assertion may live, from `iat` to `exp`. Default: `10m` for `id_jag`, `1h` for `workload`.',
    ),
    token_lifetime: duration(
      's',
      ['15m', '1m', '1h'],
      'The longest that an access token lives. The identity provider’s decisions take effect with the next one. For type `workload` it is also at most twice as long as the assertion is still valid.',
    ),
    replay: z
      .enum(['once', 'until_expiry'])
      .default('once')
      .describe(
        'For type `workload`: `once` accepts each assertion one time. `until_expiry` accepts it again until it expires, for platforms that hand out one token for a long time (Kubernetes, SPIFFE). An ID-JAG is always accepted one time.',
      ),
    rules: z
      .array(ruleKeys)
      .default([])
      .describe('For type `workload`: which programs may get tokens, and as which service accounts.'),
    provider: serviceId
      .optional()
      .describe(
        'For type `id_jag`: the entry of `oauth_providers` by which the same users sign in. Its allow lists apply.',
      ),
    clients: z
      .array(z.string().min(1))
      .default([])
      .describe(
        'For type `id_jag`: clients that may use its assertions: IDs of `clients`, or URLs of metadata documents. They must authenticate.',
      ),
    services: z
      .array(z.string())
      .min(1)
      .default(['*'])
      .describe('For type `id_jag`: IDs of services that its tokens may be for, or `*` for all of them.'),
    permissions: z
      .array(z.enum(['read', 'write', 'execute']))
      .min(1)
      .optional()
      .describe(
        'For type `id_jag`: the most that its tokens allow: the highest of these, each of which includes those before it. Access rules must grant it as well. Default: `execute`.',
      ),
    subject: z
      .enum(['sub', 'aud_sub'])
      .default('sub')
      .describe(
        'For type `id_jag`: the claim that is the user’s ID at `provider`. `aud_sub` is the ID that the user has at this gateway, if the identity provider’s own `sub` differs.',
      ),
    tenant: text(
      'For type `id_jag`: the `tenant` that assertions must name. Default: they name none.',
    ).optional(),
    aud_tenant: text(
      'For type `id_jag`: the `aud_tenant` that assertions must name. Default: they name none.',
    ).optional(),
    accounts: z
      .enum(['existing', 'create'])
      .default('existing')
      .describe(
        'For type `id_jag`: `existing` accepts users who have signed in before, or whom the provider has pushed by SCIM. `create` accepts everybody whom the allow lists of `provider` admit.',
      ),
    actors: z
      .boolean()
      .default(false)
      .describe(
        'For type `id_jag`: accept assertions with `act`, by which somebody acts for the user. The audit trail records who.',
      ),
  })
  .describe('An issuer of assertions.')

export type AssertionIssuer = z.output<typeof assertionIssuerKeys>

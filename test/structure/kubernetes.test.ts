// The examples for Kubernetes: what they render to, that the gateway reads their configuration, and that they keep to what its
// documentation promises.
import { randomBytes } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import * as z from 'zod'
import type { Config } from '../../src/config/schema.ts'
import { renderChart, usedFunctions } from '../runtimes/helm.ts'
import { configOf, warningsOf } from '../unit/config-world.ts'
import { root } from './tree.ts'

const read = (path: string): string => readFileSync(join(root, 'examples', path), 'utf8')
const secret = randomBytes(32).toString('base64url')
const named = {
  SESSION_SECRET: secret,
  OIDC_ISSUER: 'https://id.example.com',
  OIDC_CLIENT_ID: 'postern',
  OIDC_CLIENT_SECRET: 'a secret',
  OIDC_DOMAIN: 'example.com',
}

type Manifest = Readonly<Record<string, unknown>> & {
  readonly kind: string
  readonly metadata: { readonly name: string }
}
interface Container {
  readonly image: string
  readonly args: readonly string[]
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[]
  readonly startupProbe: { readonly httpGet: { readonly path: string } }
  readonly livenessProbe: { readonly httpGet: { readonly path: string } }
  readonly readinessProbe: { readonly httpGet: { readonly path: string } }
  readonly securityContext: object
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[]
}
interface Deployment extends Manifest {
  readonly spec: {
    readonly replicas: number
    readonly strategy: object
    readonly template: {
      readonly metadata: { readonly annotations: Readonly<Record<string, string>> }
      readonly spec: {
        readonly automountServiceAccountToken: boolean
        readonly terminationGracePeriodSeconds: number
        readonly securityContext: object
        readonly containers: readonly [Container]
        readonly volumes: readonly { readonly name: string }[]
      }
    }
  }
}
const isDeployment = (one: Manifest): one is Deployment => one.kind === 'Deployment'

/** What every pod of the gateway is, however it is made. */
const expectSafe = ({ spec: { template } }: Deployment): void => {
  const { spec } = template
  const [container] = spec.containers
  // 28 s for calls, 8 for stdio servers.
  expect(spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(28 + 10)
  expect(spec.automountServiceAccountToken).toBe(false)
  expect(spec.securityContext).toEqual({
    ...{ runAsNonRoot: true, runAsUser: 10_001, runAsGroup: 10_001, fsGroup: 10_001 },
    seccompProfile: { type: 'RuntimeDefault' },
  })
  expect(container.securityContext).toEqual({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  })
  expect(
    [container.startupProbe, container.livenessProbe, container.readinessProbe].map(
      ({ httpGet }) => httpGet.path,
    ),
  ).toEqual(['/healthz', '/healthz', '/readyz'])
  expect(container.args).toEqual(['serve', '--config', '/etc/postern/postern.yaml'])
  const volumes = spec.volumes.map(({ name }) => name)
  expect(container.volumeMounts.map(({ name }) => name)).toEqual(volumes)
  expect(container.volumeMounts.map(({ mountPath }) => mountPath)).toEqual(['/etc/postern', '/data', '/tmp'])
}

const expectPorts = ({ spec }: Deployment, { port, metrics }: Config): void =>
  expect(spec.template.spec.containers[0].ports).toEqual([
    { name: 'http', containerPort: port },
    { name: 'metrics', containerPort: metrics?.port },
  ])

describe('the Helm chart', () => {
  const folder = 'kubernetes/helm/postern'
  const templates = Object.fromEntries(
    readdirSync(join(root, 'examples', folder, 'templates')).map((name) => [
      name,
      read(`${folder}/templates/${name}`),
    ]),
  )
  const chart = parse(read(`${folder}/Chart.yaml`)) as {
    readonly name: string
    readonly version: string
    readonly appVersion: string
  }
  const values = parse(read(`${folder}/values.yaml`)) as Readonly<Record<string, object>> & {
    readonly config: object
  }
  const schema = z.fromJSONSchema(
    JSON.parse(read(`${folder}/values.schema.json`)) as Parameters<typeof z.fromJSONSchema>[0],
  )
  const redis = { type: 'redis', redis: { url: '${REDIS_URL}' } }
  const render = (changed: object, config: object = {}) => {
    const all = { ...values, existingSecret: 'postern', ...changed, config: { ...values.config, ...config } }
    expect(schema.safeParse(all).error).toBeUndefined()
    const context = {
      Values: all,
      Chart: { Name: chart.name, Version: chart.version, AppVersion: chart.appVersion },
      Release: { Name: 'gateway', Service: 'Helm' },
    }
    const manifests = Object.values(renderChart(templates, context))
      .flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as Manifest | null))
      .filter((one) => one !== null)
    const deployment = manifests.find(isDeployment)!
    return { manifests, deployment, kinds: manifests.map(({ kind }) => kind).toSorted() }
  }
  const kept = { persistence: { enabled: true, existingClaim: '', size: '1Gi', storageClass: '' } }

  it('runs one gateway with a volume, and replaces it only when it has ended', async () => {
    const { deployment, kinds, manifests } = render(kept)
    expect(kinds).toEqual([
      ...['ConfigMap', 'Deployment', 'NetworkPolicy', 'PersistentVolumeClaim', 'Service', 'ServiceAccount'],
    ])
    expectSafe(deployment)
    expect(deployment.spec.strategy).toEqual({ type: 'Recreate' })
    expect(deployment.spec.template.spec.volumes[1]).toEqual({
      name: 'data',
      persistentVolumeClaim: { claimName: 'gateway' },
    })
    const { data } = manifests.find(({ kind }) => kind === 'ConfigMap') as unknown as {
      readonly data: { readonly 'postern.yaml': string }
    }
    const text = data['postern.yaml']
    const env = { env: named }
    expectPorts(deployment, await configOf(text, env))
    expect(await warningsOf(text, env)).toEqual([])
    const { spec } = manifests.find(({ kind }) => kind === 'NetworkPolicy') as unknown as {
      readonly spec: { readonly ingress: readonly object[] }
    }
    expect(spec.ingress).toEqual([{ ports: [{ port: 'http' }], from: [{ namespaceSelector: {} }] }])
  })

  it('runs several on Redis, and never fewer than wanted', () => {
    const { deployment, kinds } = render(
      {
        replicas: 3,
        image: { repository: 'r/postern', tag: '', digest: `sha256:${'a'.repeat(64)}`, pullPolicy: 'Always' },
      },
      { storage: redis },
    )
    expect(kinds).toContain('PodDisruptionBudget')
    expect(kinds).not.toContain('PersistentVolumeClaim')
    expectSafe(deployment)
    expect([deployment.spec.replicas, deployment.spec.strategy]).toEqual([
      3,
      { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
    ])
    expect(deployment.spec.template.spec.containers[0].image).toBe(`r/postern@sha256:${'a'.repeat(64)}`)
    expect(deployment.spec.template.spec.volumes[1]).toEqual({ name: 'data', emptyDir: {} })
  })

  it('starts new pods when the configuration has changed', () => {
    const sum = (config: object) =>
      render({}, { storage: redis, ...config }).deployment.spec.template.metadata.annotations[
        'checksum/config'
      ]
    expect(sum({})).toMatch(/^[\da-f]{64}$/)
    expect(sum({ log_level: 'debug' })).not.toBe(sum({}))
  })

  it('has every value that may be set, and nothing else', () => {
    const optional = render(
      {
        ...kept,
        nodeSelector: { disk: 'ssd' },
        tolerations: [{ key: 'x', operator: 'Exists' }],
        affinity: { nodeAffinity: {} },
        podAnnotations: { a: 'b' },
        serviceAccountToken: true,
        service: { type: 'LoadBalancer', port: 443, annotations: { c: 'd' } },
        networkPolicy: { enabled: true, gatewayFrom: [], metricsFrom: [{ podSelector: {} }] },
      },
      {},
    )
    expect(optional.deployment.spec.template.spec).toMatchObject({
      nodeSelector: { disk: 'ssd' },
      tolerations: [{ key: 'x', operator: 'Exists' }],
      affinity: { nodeAffinity: {} },
      automountServiceAccountToken: true,
    })
    expect(optional.manifests.find(({ kind }) => kind === 'Service')).toMatchObject({
      metadata: { annotations: { c: 'd' } },
      spec: { type: 'LoadBalancer', ports: [{ name: 'http', port: 443, targetPort: 'http' }] },
    })
    expect(
      render({ ...kept, networkPolicy: { enabled: false, gatewayFrom: [], metricsFrom: [] } }).kinds,
    ).not.toContain('NetworkPolicy')
  })

  it.each([
    [
      { replicas: 2, ...kept },
      {},
      'replicas is 2: set config.storage.type to redis or postgres, because sqlite belongs to one process',
    ],
    [
      { replicas: 2 },
      { storage: { type: 'memory' } },
      'replicas is 2: set config.storage.type to redis or postgres, because memory belongs to one process',
    ],
    [{}, {}, 'storage.type sqlite keeps everything in /data: set persistence.enabled, or another storage'],
    [{ ...kept, existingSecret: '' }, {}, 'existingSecret: name a Secret with SESSION_SECRET'],
  ])('refuses %j with %j in words', (changed, config, message) =>
    expect(() => render(changed, config)).toThrow(message),
  )

  it.each([
    [{ replicas: 0 }],
    [{ replicas: '2' }],
    [{ replica: 2 }],
    [{ image: { repository: 'x', tag: 'y', digest: 'sha1:0', pullPolicy: 'Always' } }],
    [{ terminationGracePeriodSeconds: 30 }],
    [{ config: { host: 'localhost', port: 8080, issuer: 'https://mcp.example.com' } }],
    [{ config: { host: '0.0.0.0', port: 80, issuer: 'https://mcp.example.com' } }],
  ])('has a schema that refuses %j', (changed) =>
    expect(schema.safeParse({ ...values, ...changed }).success).toBe(false),
  )

  it('uses functions of Helm that were rendered here, and is the version of the package', () => {
    expect([...usedFunctions].toSorted()).toEqual([
      ...[
        'and',
        'default',
        'eq',
        'fail',
        'gt',
        'if',
        'include',
        'int',
        'nindent',
        'not',
        'or',
        'printf',
        'quote',
      ],
      ...['required', 'sha256sum', 'toYaml', 'with'],
    ])
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    expect([chart.version, chart.appVersion, values['image']]).toEqual([
      version,
      version,
      { repository: 'postern', tag: version, digest: '', pullPolicy: 'IfNotPresent' },
    ])
  })
})

describe('the kustomization', () => {
  const documents = (path: string) =>
    parseAllDocuments(read(`kubernetes/kustomize/${path}`)).map((document) => document.toJS() as Manifest)

  it('runs one gateway as the chart does', async () => {
    const deployment = documents('base/postern.yaml').find(isDeployment)!
    expectSafe(deployment)
    expect(deployment.spec.strategy).toEqual({ type: 'Recreate' })
    expectPorts(deployment, await configOf(read('kubernetes/kustomize/base/config.yaml'), { env: named }))
  })

  it('runs two on Redis', async () => {
    const [deployment] = documents('redis/deployment.yaml').filter(isDeployment)
    expect([deployment?.spec.replicas, deployment?.spec.strategy]).toEqual([
      2,
      { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
    ])
    const env = { ...named, REDIS_URL: 'rediss://redis.example.com:6379' }
    const { storage } = await configOf(read('kubernetes/kustomize/redis/config.yaml'), { env })
    expect(storage.type).toBe('redis')
  })

  it.each(['base', 'redis'])('%s names files that are there', (name) => {
    const {
      resources = [],
      patches = [],
      configMapGenerator,
    } = documents(`${name}/kustomization.yaml`)[0] as unknown as {
      readonly resources?: readonly string[]
      readonly patches?: readonly { readonly path: string }[]
      readonly configMapGenerator: readonly { readonly files: readonly string[] }[]
    }
    const files = [
      ...resources,
      ...patches.map(({ path }) => path),
      ...configMapGenerator.flatMap((one) => one.files.map((file) => file.split('=')[1] ?? '')),
    ]
    const there = readdirSync(join(root, 'examples/kubernetes/kustomize', name))
    expect(files.filter((file) => file !== '../base').toSorted()).toEqual(
      there.filter((file) => file !== 'kustomization.yaml').toSorted(),
    )
  })
})

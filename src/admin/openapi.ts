// The OpenAPI document of the API for administrators, made of the route table: what is not routed is not in it, and what
// is in it is routed.
import * as z from 'zod'
import type { Route } from '../ports/modules.ts'
import { type ApiOperation, apiOperations } from './api-schemas.ts'
import { json } from './services-api.ts'

const prefix = '/api/'

interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query'
  readonly required: boolean
  readonly schema: { readonly type: 'string' }
}

interface Operation {
  readonly summary: string
  readonly parameters: readonly Parameter[]
  readonly requestBody?: object
  readonly responses: Readonly<Record<string, object>>
}

const parameter = (name: string, at: Parameter['in']): Parameter => ({
  name,
  in: at,
  required: at === 'path',
  schema: { type: 'string' },
})

const schemaOf = (type: z.ZodType, io: 'input' | 'output'): object => {
  const { $schema: _, ...schema } = z.toJSONSchema(type, { io })
  return schema
}

const content = (type: z.ZodType, io: 'input' | 'output', media = 'application/json') => ({
  content: { [media]: { schema: schemaOf(type, io) } },
})

/** What is not described is not in the document, and a test looks for that. */
const answersOf = ({ answers, type: media }: ApiOperation) =>
  Object.entries(answers).map(([status, type]) => [
    status,
    { description: 'Done.', ...(type && content(type, 'output', media)) },
  ])

/** `:id` of the table is `{id}` here; `?user=` in a description is a query parameter. */
const operationOf = (path: string, description: string, operation: ApiOperation | undefined): Operation => ({
  summary: description,
  parameters: [
    ...[...path.matchAll(/:(\w+)/g)].map(([, name = '']) => parameter(name, 'path')),
    ...[...new Set([...description.matchAll(/\?(\w+)=/g)].map(([, name = '']) => name))].map((name) =>
      parameter(name, 'query'),
    ),
  ],
  ...(operation?.body && { requestBody: { required: true, ...content(operation.body, 'input') } }),
  responses: {
    ...(operation && Object.fromEntries(answersOf(operation))),
    default: { $ref: '#/components/responses/Refused' },
  },
})

const refusedAnswer = {
  description: 'Refused. `code` is one of docs/reference/refusals.md.',
  content: {
    'application/json': {
      schema: {
        type: 'object',
        required: ['error', 'error_description', 'code', 'request_id'],
        properties: Object.fromEntries(
          ['error', 'error_description', 'error_uri', 'code', 'request_id'].map((name) => [
            name,
            { type: 'string' },
          ]),
        ),
      },
    },
  },
}

const pathsOf = (routes: readonly Route[], operations: Readonly<Record<string, ApiOperation>>) =>
  routes.flatMap(({ paths, methods, description }) =>
    paths
      .filter((path) => path.startsWith(prefix))
      .map((path) => [
        path.replaceAll(/:(\w+)/g, '{$1}'),
        Object.fromEntries(
          Object.keys(methods).map((method) => [
            method.toLowerCase(),
            operationOf(path, description, operations[`${method} ${path}`]),
          ]),
        ),
      ]),
  )

export const openApiDocument = (routes: readonly Route[]) => ({
  openapi: '3.1.0',
  info: { title: 'Postern: API for administrators', version: '1' },
  servers: [{ url: '/' }],
  security: [{ token: [] }],
  components: {
    securitySchemes: {
      token: {
        type: 'http',
        scheme: 'bearer',
        description:
          'An access token for the resource {issuer}/api with the scope admin, or a personal access token for the API (`postern token create --api`).',
      },
    },
    responses: { Refused: refusedAnswer },
  },
  paths: Object.fromEntries(pathsOf(routes, apiOperations())),
})

/** The document about these routes; it names no secret and no service, so that anybody may read it. */
export const openApiRoute = (routes: readonly Route[]): Route => ({
  paths: ['/api/openapi.json'],
  description: 'OpenAPI 3.1 document of the API for administrators',
  surface: 'json',
  cors: false,
  methods: { GET: () => Promise.resolve(json(openApiDocument(routes))) },
})

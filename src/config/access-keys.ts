// Keys of the access rules: who may use which tools, prompts and resources, at the top level and for a service.
import * as z from 'zod'
import { serviceId } from './key-types.ts'

export const permissions = ['read', 'write', 'execute', 'admin'] as const

/** Longest reason that a rule gives. */
const mostReason = 200

const names = (description: string) => z.array(z.string().min(1)).min(1).optional().describe(description)

const globs = '`*` stands for any characters, `?` for one, `\\` takes the next character literally.'

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()])

const conditionForms = z.union([
  scalar,
  z.array(scalar).min(1),
  z.strictObject({ glob: z.string().min(1) }),
  z
    .strictObject({ min: z.number().optional(), max: z.number().optional() })
    .refine(({ min, max }) => min !== undefined || max !== undefined),
  z.strictObject({ not: z.array(scalar).min(1) }),
  z.strictObject({ absent: z.literal(true) }),
])

/** One sentence for all forms, instead of what each lacks. */
const condition = z.unknown().refine((value) => conditionForms.safeParse(value).success, {
  error:
    'must be a value, a list of values, or one of {glob: text}, {min: number, max: number}, {not: [values]}, {absent: true}',
})

const whoKeys = {
  people: z
    .array(
      z
        .string()
        .regex(
          /^([a-z0-9][a-z0-9_-]{0,62}:.+|[^@\s:]+@[^@\s]+)$/,
          'must be provider:subject, e.g. "local:ana", or a verified email address',
        ),
    )
    .min(1)
    .optional()
    .describe('Users, each as `provider:subject` or a verified email address.'),
  groups: names(
    'Groups: one of `access.groups`, `provider:group`, or just the group’s name if there is one sign-in method.',
  ),
  everyone: z.literal(true).optional().describe('Every user who is signed in.'),
  anonymous: z.literal(true).optional().describe('Callers of a service with `auth_required: false`.'),
  clients: names(
    'Apps, in addition to the users: `configured`, `document` or `dynamic` (how the app is registered), `personal` (personal access tokens), `domain:example.com` (its metadata document is at that domain or below it), `redirect:app.example.com` (its authorization code went to exactly that host over https), a pattern of the document’s URL, or a `client_id`.',
  ),
}

const whatKeys = {
  tools: names(`Patterns of tool names. ${globs}`),
  resources: names(`Patterns of resource URIs. ${globs} \`*\` stops at \`/\`, \`**\` does not.`),
  prompts: names(`Patterns of prompt names. ${globs}`),
  when: z
    .record(z.string().min(1), condition)
    .optional()
    .describe(
      'Conditions on the arguments of a tool or prompt, all of which must hold. The key is the path of an argument, `a.b` or `/a/b`. The value is a value, a list of which one matches, `{glob: text}`, `{min, max}`, `{not: [values]}` or `{absent: true}`. If an argument is missing or has another type, an allow rule does not apply and a deny rule does.',
    ),
}

const ruleId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be letters, digits, - and _, at most 64 characters')
  .optional()
  .describe('Name of the rule in denials and in `postern policy explain`. Default: its position.')

const permissionList = z
  .array(z.enum(permissions))
  .min(1)
  .optional()
  .describe(
    'What the rule grants: the highest of these, each of which includes those before it. Default: `read`.',
  )

const services = names('Patterns of service IDs. Default: every service.')

const allowKeys = { id: ruleId, ...whoKeys, permissions: permissionList, ...whatKeys }
const denyKeys = {
  id: ruleId,
  ...whoKeys,
  ...whatKeys,
  reason: z
    .string()
    .min(1)
    .max(mostReason)
    .optional()
    .describe('What a caller is told when the rule denies a call.'),
}

const allowAbout = 'A rule that grants access. It names who may do something, and what.'
const denyAbout =
  'A rule that denies access, whatever other rules grant. Without users it applies to everyone.'

const onlyAndNot = (what: string) =>
  z
    .strictObject({
      allow: names(`If set, only these ${what} can be used.`),
      deny: names(`Patterns of ${what} that nobody can use.`),
    })
    .optional()
    .describe(`${what[0]?.toUpperCase()}${what.slice(1)} that can be used, whatever the rules grant.`)

/** What becomes of a tool whose definition nobody approved. */
const pinModes = ['allow', 'warn', 'quarantine'] as const

const pinning = z
  .preprocess(
    (value) => (typeof value === 'string' ? { changed: value, new: value } : value),
    z.strictObject({
      changed: z
        .enum(pinModes)
        .default('warn')
        .describe('Tools and prompts whose definition is another one than the approved one.'),
      new: z
        .enum(pinModes)
        .default('warn')
        .describe('Tools and prompts that were added since the first list.'),
      first: z
        .enum(['trust', 'hold'])
        .default('trust')
        .describe(
          'The first list: `trust` approves what is on it, `hold` keeps it back until it is approved.',
        ),
    }),
  )
  .optional()
  .describe(
    'Pinning: the gateway remembers the definition of each tool and prompt (name, description, schemas, annotations) and notices when the server changes it. `allow` only records the change, `warn` also logs a warning, `quarantine` hides the tool and refuses its calls until it is approved with `postern tools approve`. One of these words here sets both `changed` and `new`.',
  )
  .meta({ 'x-words': pinModes })

const serverAsk = (what: string) =>
  z.enum(['allow', 'deny']).optional().describe(`${what} Default: \`allow\`.`)

const fromServer = z
  .strictObject({
    sampling: serverAsk('Asking the app’s language model to write something (`sampling/createMessage`).'),
    elicitation: serverAsk('Asking the user a question, or to open a URL (`elicitation/create`).'),
    roots: serverAsk('Asking for the folders that the app works in (`roots/list`).'),
  })
  .optional()
  .describe(
    'What the MCP server may ask of apps. For `deny`, the server is told that the app cannot do that. If it asks nevertheless, it gets an error, and the app does not see the request. Requests that MCP does not define are answered in the same way as soon as one of these is denied.',
  )

const instructions = z
  .enum(['pass', 'drop'])
  .optional()
  .describe(
    'Whether apps get the instructions of the MCP server, a text for their language model. Default: `pass`.',
  )

export const serviceAccessKeys = z
  .strictObject({
    ...whoKeys,
    permissions: permissionList,
    allow: z
      .array(z.strictObject(allowKeys).describe(allowAbout))
      .default([])
      .describe('Rules that grant access.'),
    deny: z
      .array(z.strictObject(denyKeys).describe(denyAbout))
      .default([])
      .describe('Rules that deny access.'),
    tools: z
      .record(
        z.string().min(1),
        z.union([z.string(), z.array(z.string().min(1)).min(1)], {
          error: 'must be a permission or, for `allow` and `deny`, a list of tools',
        }),
      )
      .default({})
      .describe(
        'Permission that each tool needs, by name or pattern: `read`, `write`, `execute`, `admin`, or `deny`. If several patterns match, the strictest one counts. Tools that are not listed here need what their annotations say: `readOnlyHint: true` read, `destructiveHint: false` write, otherwise execute. With a list as value, `deny` names tools that nobody can use, and `allow`, beside `groups` or `people`, the only tools that these may use.',
      ),
    unmarked: z
      .enum(permissions)
      .default('execute')
      .describe('Permission needed for tools that are not in `tools` and have no annotations.'),
    unlisted: z
      .enum(['refuse', 'allow'])
      .default('refuse')
      .describe(
        'Whether a tool can be called that is neither named in `tools` nor in the server’s list of tools: `refuse` answers that there is no such tool.',
      ),
    resources: onlyAndNot('resources'),
    prompts: onlyAndNot('prompts'),
    methods: z
      .array(z.string().min(1))
      .default([])
      .describe(
        'Request methods beyond those of MCP that the server accepts, for callers with the permission `execute`.',
      ),
    from_server: fromServer,
    instructions,
    pinning,
  })
  .optional()
  .describe(
    'Who may use this service, and which of its tools. `groups`, `people`, `everyone` or `clients` here, with `permissions`, are the short form of one entry of `allow`.',
  )

const group = z
  .strictObject({
    members: names('Users, each as `provider:subject` or a verified email address.'),
    from: z
      .record(serviceId, z.array(z.string().min(1)).min(1))
      .optional()
      .describe('Patterns of group names at each identity provider, or at `local` for `local_users`.'),
  })
  .describe('A group, made of users and of groups at identity providers.')

const test = z
  .strictObject({
    as: z.string().min(1).describe('The user, as `provider:subject` or an email address, or `anonymous`.'),
    groups: names('Groups of the user at the sign-in method. Default: those of the entry in `local_users`.'),
    client: z
      .string()
      .min(1)
      .optional()
      .describe('The app’s `client_id`. Default: an app that registered itself.'),
    redirect: z
      .string()
      .min(1)
      .optional()
      .describe('The https host that the app’s authorization code went to. Default: none.'),
    tool: z
      .string()
      .regex(/^[a-z0-9][a-z0-9_-]*:.+$/s, 'must be service:tool, e.g. "jira:create_issue"')
      .describe('What is called, as `service:tool`.'),
    arguments: z.record(z.string(), z.unknown()).optional().describe('Arguments of the call.'),
    expect: z.enum(['allow', 'deny']).describe('What the rules should say.'),
    code: z.string().min(1).optional().describe('For `deny`: the expected code, such as `policy.tool`.'),
  })
  .describe(
    'An example that the rules must decide as written. `postern validate` and `postern policy test` run it.',
  )

export const accessKeys = z
  .strictObject({
    default: z
      .enum(['none', 'everyone'])
      .default('none')
      .describe(
        'Access to services without an `access` section: `none`, or `everyone` who is signed in (with the permission `execute`).',
      ),
    groups: z.record(z.string().min(1), group).default({}).describe('Groups, by the name that rules use.'),
    clients: z
      .strictObject({
        allow: names('If set, only these apps may call services.'),
        deny: names('Apps that may not call any service.'),
      })
      .optional()
      .describe('Apps that may call services at all, written as in a rule’s `clients`.'),
    allow: z
      .array(z.strictObject({ ...allowKeys, services }).describe(allowAbout))
      .default([])
      .describe('Rules that grant access to several services.'),
    deny: z
      .array(z.strictObject({ ...denyKeys, services }).describe(denyAbout))
      .default([])
      .describe('Rules that deny access to several services.'),
    stored: z
      .enum(['any', 'deny', 'off'])
      .default('any')
      .describe(
        'Which rules may be added while the gateway runs, with `postern access` or `/api/access`: `any`, only those that `deny`, or none (`off`). Stored rules that are not allowed here have no effect.',
      ),
    disclose: z
      .enum(['rule', 'code'])
      .default('rule')
      .describe('What a denial tells the caller: the rule and its reason, or only the code.'),
    tests: z.array(test).default([]).describe('Examples that the rules must decide as written.'),
  })
  .optional()
  .describe(
    'Access rules. Without any `access` section, every user who can sign in may use every tool of every service.',
  )

// Servers that write their answers carelessly: what can be read is passed on, and what cannot be ends the
// call that waits for it, and no other.
import { describe, expect, it } from 'vitest'
import { saidBy } from '../stdio/world.ts'
import { begun, useWorlds } from '../stdio/worlds.ts'

const world = useWorlds()
const fine = '{"jsonrpc":"2.0","id":@ID,"result":{"content":[{"type":"text","text":"fine"}]}}'
const pretty =
  '{\n  "jsonrpc": "2.0",\n  "id": @ID,\n  "result": {\n    "content": [\n      {\n        "type": "text",\n        "text": "fine"\n      }\n    ]\n  }\n}\n'
const unreadable = {
  code: 1502,
  message: 'The MCP server sent an invalid MCP message.',
  data: { code: 'process.answer', request_id: 'request' },
}

describe('an answer of a command', () => {
  it.each<readonly [string, object]>([
    ['with a byte order mark', { text: `\ufeff${fine}\n` }],
    ['with escape codes', { text: `\u001b[2m[info]\u001b[0m working\n\u001b[0m${fine}\n` }],
    ['over several lines', { text: pretty }],
    ['over several lines after an object that a console printed', { text: `{\n  name: 'x'\n}\n${pretty}` }],
    ['in a frame of language servers', { text: `Content-Length: 80\r\n\r\n${fine}` }],
    ['without a line feed', { text: fine }],
    [
      'on one line with a notification',
      {
        text: `${fine}{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n`,
      },
    ],
    ['with its id as text', { text: `${fine.replace('@ID', '"@ID"')}\n` }],
    ['with an error that is null', { text: `${fine.slice(0, -1)},"error":null}\n` }],
    ['without jsonrpc', { text: `${fine.replace('"jsonrpc":"2.0",', '')}\n` }],
    ['after a banner', { text: `some-server 1.0\n{"level":"info","msg":"up"}\n${fine}\n` }],
  ])('%s is passed on', async (_how, args) => {
    const ana = await begun(world().client('ana'))
    expect(await ana.tool('utter', args, 'mine')).toEqual({
      jsonrpc: '2.0',
      id: 'mine',
      result: { content: [{ type: 'text', text: 'fine' }] },
    })
  })

  it('with bytes that are no UTF-8, and with NaN, loses these alone', async () => {
    const ana = await begun(world().client('ana'))
    const bytes = Buffer.concat([
      Buffer.from('{"jsonrpc":"2.0","id":@ID,"result":{"content":[{"type":"text","text":"caf'),
      Buffer.from([0xe9]),
      Buffer.from('"}]}}\n'),
    ])
    expect((await ana.tool('utter', { base64: bytes.toString('base64') })).result).toEqual({
      content: [{ type: 'text', text: 'caf\ufffd' }],
    })
    const nan =
      '{"jsonrpc":"2.0","id":@ID,"result":{"content":[],"structuredContent":{"mean":NaN,"big":12345678901234567890,"text":"NaN"}}}\n'
    const [, said = ''] =
      /"structuredContent":(\{.*?\})/.exec(
        await (
          await ana.fetch(
            'POST',
            {
              jsonrpc: '2.0',
              id: 9,
              method: 'tools/call',
              params: { name: 'utter', arguments: { text: nan } },
            },
            ana.session,
          )
        ).text(),
      ) ?? []
    expect(said).toBe('{"mean":null,"big":12345678901234567890,"text":"NaN"}')
  })

  it('whose result is null is an empty one, and whose error has such a result an error', async () => {
    const ana = await begun(world().client('ana'))
    expect(await ana.tool('utter', { text: '{"jsonrpc":"2.0","id":@ID,"result":null}\n' }, 1)).toEqual({
      jsonrpc: '2.0',
      id: 1,
      result: {},
    })
    const failed = '{"jsonrpc":"2.0","id":@ID,"result":null,"error":{"code":-32000,"message":"no"}}\n'
    expect(await ana.tool('utter', { text: failed }, 2)).toEqual({
      jsonrpc: '2.0',
      id: 2,
      error: { code: -32000, message: 'no' },
    })
  })

  it('whose error has no id is given to the one call that waits, with the words of the server', async () => {
    const ana = await begun(world().client('ana'))
    expect(
      await ana.tool(
        'utter',
        { text: '{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"bad argument"}}\n' },
        'mine',
      ),
    ).toEqual({ jsonrpc: '2.0', id: 'mine', error: { code: -32602, message: 'bad argument' } })
  })

  it('that cannot be read ends its call at once, and is told to the operator without what the configuration keeps secret', async () => {
    const { client, log } = world({ plan: { env: { TOKEN: 'sw0rdfish-long' } } })
    const ana = await begun(client('ana'))
    const text = '{"jsonrpc":"2.0","id":@ID,"result":{"key":"sw0rdfish-long","x":,}}\n'
    expect((await ana.tool('utter', { text })).error).toEqual(unreadable)
    const told = log.filter(({ event }) => event === 'process.unreadable')
    expect(told.map(({ level, fields }) => [level, fields['waited'], fields['text']])).toEqual([
      [
        'warn',
        true,
        expect.stringMatching(/^\{"jsonrpc":"2\.0","id":\d+,"result":\{"key":"\[TOKEN\]","x":,\}\}$/),
      ],
    ])
  })

  it('behind other words on its line ends its call, and is not taken for an answer', async () => {
    const ana = await begun(world().client('ana'))
    expect((await ana.tool('utter', { text: `working...${fine}\n` })).error).toEqual(unreadable)
    // A server that only logs what it is about to write is not held against its call.
    expect((await ana.tool('utter', { text: `sending ${fine}\n`, answer: 50 })).result).toEqual({
      content: [{ type: 'text', text: '{"answered":true}' }],
    })
  })

  it('of no use to anybody ends no call that goes on', async () => {
    const { client } = world()
    const ana = await begun(client('ana'))
    const slow = ana.tool('wait', { ms: 1500 }, 'slow')
    for (const text of ['Error: type mismatch\n', '{"jsonrpc":"2.0","id":99999,"result":{,}}\n']) {
      expect((await ana.tool('utter', { text, answer: 20 })).result).toEqual({
        content: [{ type: 'text', text: '{"answered":true}' }],
      })
    }
    // Two calls wait, and one error without an id: that which is left when the other was answered was meant.
    const lost = ana.tool(
      'utter',
      { text: '{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"bad argument"}}\n' },
      'lost',
    )
    expect((await slow).result).toEqual({ content: [{ type: 'text', text: '{"waited":1500}' }] })
    expect((await lost).error).toEqual({ code: -32602, message: 'bad argument' })
  })

  it('to a notification, which nobody asked for, ends no call', async () => {
    const ana = await begun(world().client('ana'))
    await ana.notify('notifications/roots/list_changed')
    const text = '{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"Method not found"}}\n'
    expect((await ana.tool('utter', { text, answer: 1000 })).result).toEqual({
      content: [{ type: 'text', text: '{"answered":true}' }],
    })
  })

  it('of more than 32 MB costs its call alone, and one of 12 MB arrives [H-N8]', async () => {
    const { client, bridge } = world()
    const ana = await begun(client('ana'))
    const pid = bridge.processes()[0]?.pid
    expect((await ana.tool('large', { bytes: 40_000_000 })).error).toEqual({
      code: 1502,
      message: 'The response of the MCP server exceeds the limit of 32 MB.',
      data: { code: 'process.answer', request_id: 'request' },
    })
    expect(String(saidBy(await ana.tool('large', { bytes: 12_000_000 }))['text'])).toHaveLength(12_000_000)
    expect([bridge.processes()[0]?.pid, (await ana.tool('echo')).error]).toEqual([pid, undefined])
  }, 60_000)
})

describe('a command that writes what is no message', () => {
  it('is told of once, and at each call that waits', async () => {
    const { client, log } = world()
    const ana = await begun(client('ana'))
    await ana.tool('utter', { text: 'one\ntwo\n', answer: 20 })
    const told = log
      .filter(({ event }) => event === 'process.unreadable')
      .map(({ level, fields }) => [level, fields['text']])
    expect(told).toEqual([
      ['warn', 'one'],
      ['warn', 'two'],
    ])
  })
})

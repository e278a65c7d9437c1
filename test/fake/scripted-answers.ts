import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { deferred } from '../../src/lib/promises.ts';

/** An answer, byte by byte, and what becomes of its connection. */
export interface AnswerScript {
  readonly bytes: Buffer;
  /** How many bytes go out at a time; undefined: all at once. */
  readonly pieceBytes: number | undefined;
  /** `open`: nothing. `half`: it sends no more, and reads on. */
  readonly ending: 'open' | 'fin' | 'half' | 'rst';
  /** Whether the system has taken all bytes before the connection ends. */
  readonly isFlushed: boolean;
}

const NOT_FOUND: AnswerScript = {
  bytes: Buffer.from('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n'),
  pieceBytes: undefined,
  ending: 'open',
  isFlushed: false,
};

export interface ScriptedAnswers {
  readonly url: URL;
  readonly connections: number;
  /** Where `script` is played to everybody who asks; `played` resolves when it was for the first time. */
  give(script: AnswerScript): { readonly url: URL; readonly played: Promise<void>; forget(): void };
}

/**
 * A server on loopback that plays scripts, until the running test ends. `GET /echo/<text>` it answers by that text, and
 * what it does not know by what `otherwise` makes of the head of the request.
 */
export async function startScriptedAnswers(
  otherwise: (head: string) => AnswerScript | undefined = () => undefined,
): Promise<ScriptedAnswers> {
  const scripts = new Map<string, { readonly script: AnswerScript; readonly onPlayed: () => void }>();
  const sockets = new Set<Socket>();
  let given = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    let asked = '';
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.on('end', () => socket.end());
    socket.on('data', (bytes: Buffer) => {
      asked += bytes.toString('latin1');
      if (!asked.endsWith('\r\n\r\n')) return;
      const [, kind, name = ''] = /^GET \/(\w+)\/(\S+) /.exec(asked) ?? [];
      const head = asked;
      asked = '';
      const found = scripts.get(name);
      if (kind === 'echo') socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${name.length}\r\n\r\n${name}`);
      else if (found !== undefined) void play(found.script, socket).then(found.onPlayed);
      else void play(otherwise(head) ?? NOT_FOUND, socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    url,
    get connections() {
      return sockets.size;
    },
    give(script) {
      const name = String(given++);
      const played = deferred<void>();
      scripts.set(name, { script, onPlayed: () => played.resolve() });
      return {
        url: new URL(`/script/${name}`, url),
        played: played.promise,
        forget: () => scripts.delete(name),
      };
    },
  };
}

async function play({ bytes, pieceBytes, ending, isFlushed }: AnswerScript, socket: Socket): Promise<void> {
  let flushed: Promise<void> = Promise.resolve();
  const step = pieceBytes ?? Math.max(1, bytes.length);
  for (let at = 0; at < bytes.length && !socket.destroyed; at += step) {
    const piece = bytes.subarray(at, at + step);
    flushed = new Promise((resolve) => socket.write(piece, () => resolve()));
    if (pieceBytes !== undefined) await turn();
  }
  if (isFlushed) await flushed;
  if (ending === 'fin') socket.destroySoon();
  else if (ending === 'half') socket.end();
  else if (ending === 'rst') socket.resetAndDestroy();
}

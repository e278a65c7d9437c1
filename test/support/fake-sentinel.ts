import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Gate } from '../fake/gate.ts';

/** A sentinel that says what it is told to, when it is told to. */
export interface FakeSentinel {
  /** `redis+sentinel://…` */
  readonly url: string;
  /** How often it was asked who is master. */
  readonly asked: number;
  /** How many listen for a new master. */
  readonly listeners: number;
  /** Whoever asks who is master from now on is held at the gate. */
  hold(gate: Gate): void;
  /** Tells all who listen that there is a new master. */
  announce(): void;
}

/** Stands before a single Redis on `masterPort`; ends with the test. */
export async function startFakeSentinel(masterPort: number): Promise<FakeSentinel> {
  const sockets = new Set<Socket>();
  const listeners = new Set<Socket>();
  let asked = 0;
  let gate: Gate | undefined;
  const master = array(['127.0.0.1', String(masterPort)]);

  const answer = async (socket: Socket, command: readonly string[]): Promise<void> => {
    const [name, sub] = command.map((word) => word.toLowerCase());
    if (name === 'hello') socket.write('-ERR unknown command HELLO\r\n');
    else if (name === 'sentinel' && sub === 'get-master-addr-by-name') {
      asked++;
      await gate?.pass();
      socket.write(master);
    } else if (name === 'sentinel') socket.write('*0\r\n');
    else if (name === 'subscribe') {
      listeners.add(socket);
      socket.write(`*3\r\n${bulk('subscribe')}${bulk(command[1] ?? '')}:1\r\n`);
    } else socket.write('+OK\r\n');
  };

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sockets.delete(socket);
      listeners.delete(socket);
    });
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
      const { commands, rest } = parse(text);
      text = rest;
      for (const command of commands) void answer(socket, command);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  // A server that listens on an address and a port says so.
  const { port } = server.address() as AddressInfo;
  return {
    url: `redis+sentinel://127.0.0.1:${port}/test/0`,
    get asked() {
      return asked;
    },
    get listeners() {
      return listeners.size;
    },
    hold(held) {
      gate = held;
    },
    announce() {
      const text = 'test 127.0.0.1 1 127.0.0.1 2';
      for (const socket of listeners) {
        socket.write(`*3\r\n${bulk('message')}${bulk('+switch-master')}${bulk(text)}`);
      }
    },
  };
}

function bulk(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

function array(texts: readonly string[]): string {
  return `*${texts.length}\r\n${texts.map(bulk).join('')}`;
}

/** The whole commands at the start of `text`: arrays of texts without line ends. */
function parse(text: string): { readonly commands: string[][]; readonly rest: string } {
  const commands: string[][] = [];
  let rest = text;
  for (;;) {
    const count = Number(/^\*(\d+)\r\n/.exec(rest)?.[1]);
    const lines = rest.split('\r\n');
    if (Number.isNaN(count) || lines.length < 2 * count + 2) return { commands, rest };
    commands.push(lines.slice(1, 2 * count + 1).filter((_, index) => index % 2 === 1));
    rest = lines.slice(2 * count + 1).join('\r\n');
  }
}

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { constants, setPriority } from 'node:os';
import type { OpenLoad, OpenLoadOrder } from './open-load.ts';
import { percentile } from './statistics.ts';

/*
 * A process of its own: sends the requests of its order when they are due and prints an `OpenLoad`. It speaks HTTP/1.1
 * by hand, because Node's client costs more than the server that it is to measure.
 */

const HEAD_END = '\r\n\r\n';
/** After the last request was due. */
const GRACE_MS = 30_000;

/** One request at a time on a connection that stays. */
class Connection {
  readonly #socket: Socket;
  readonly #request: string;
  #received: Buffer = Buffer.alloc(0);
  /** Of the answer under way; undefined: its head has not come yet. */
  #missing: number | undefined;
  #onAnswered: (() => void) | undefined;

  constructor(socket: Socket, request: string) {
    this.#socket = socket;
    this.#request = request;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('the server has closed a connection')));
  }

  ask(onAnswered: () => void): void {
    this.#onAnswered = onAnswered;
    this.#socket.write(this.#request);
  }

  #take(chunk: Buffer): void {
    if (this.#missing === undefined) {
      const bytes = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
      const end = bytes.indexOf(HEAD_END);
      if (end < 0) {
        this.#received = bytes;
        return;
      }
      this.#received = Buffer.alloc(0);
      this.#missing = bodyBytes(bytes.toString('latin1', 0, end)) - (bytes.length - end - HEAD_END.length);
    } else {
      this.#missing -= chunk.length;
    }
    if (this.#missing > 0) return;
    this.#missing = undefined;
    this.#onAnswered?.();
  }
}

function bodyBytes(head: string): number {
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (!head.startsWith('HTTP/1.1 200 ') || length === undefined) throw new Error(`no answer to use: ${head}`);
  return Number(length);
}

async function play(order: OpenLoadOrder): Promise<OpenLoad> {
  const { hostname, port, host, pathname } = new URL(order.url);
  const headers = Object.entries({ Host: host, ...order.headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  const request = `GET ${pathname} HTTP/1.1\r\n${headers.join('')}\r\n`;
  const idle: Connection[] = [];
  for (let count = 0; count < order.connections; count++) {
    const socket = connect({ host: hostname, port: Number(port) });
    await once(socket, 'connect');
    idle.push(new Connection(socket, request));
  }
  const total = Math.max(1, Math.round(order.perSecond * order.seconds));
  const latencies = new Float64Array(total);
  const startedAt = performance.now();
  const dueAt = (index: number): number => startedAt + (index * 1000) / order.perSecond;
  setTimeout(() => fail(new Error('answers are missing')), order.seconds * 1000 + GRACE_MS);
  let sent = 0;
  let answered = 0;
  return new Promise((resolve) => {
    const sendDue = (): void => {
      while (sent < total && dueAt(sent) <= performance.now()) {
        const connection = idle.pop();
        if (connection === undefined) return;
        const index = sent++;
        connection.ask(() => {
          latencies[index] = performance.now() - dueAt(index);
          answered++;
          idle.push(connection);
          if (answered === total) resolve(summary(latencies));
          else sendDue();
        });
      }
    };
    setInterval(sendDue, 1);
  });
}

function summary(latencies: Float64Array): OpenLoad {
  const sorted = latencies.sort();
  return { requests: sorted.length, p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) };
}

function fail(error: unknown): never {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

/** What it waits for a processor would be taken for the server's; only root may see to that. */
function goFirst(): void {
  try {
    setPriority(constants.priority.PRIORITY_HIGHEST);
  } catch {
    // Then it has to wait for its turn like all others.
  }
}

goFirst();
play(JSON.parse(process.argv[2] ?? '') as OpenLoadOrder).then((load) => {
  process.stdout.write(JSON.stringify(load), () => process.exit(0));
}, fail);

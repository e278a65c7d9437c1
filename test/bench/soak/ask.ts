import { once } from 'node:events';
import { request, type Agent, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLIENT_HEADERS } from '../load.ts';

/** Longer than anything that Pierhead may wait for. */
const SILENCE_MS = 90_000;

export interface Question {
  readonly url: string;
  readonly agent: Agent;
  /** The address that the client comes from. */
  readonly from: string;
  readonly method?: 'GET' | 'HEAD';
  readonly range?: string;
  readonly onChunk?: (chunk: Buffer) => void;
  /** The client goes away when it has so much of the body. */
  readonly leaveAfterBytes?: number;
  /** The client goes away after this time, whether or not there is an answer. */
  readonly leaveAfterMs?: number;
  readonly bytesPerSecond?: number;
}

/**
 * What came of a question. `complete`: the answer ended as its head said. `broken`: it ended before. `left`: the client
 * went away. `silent`: nothing came for a long time. `none`: there was no answer.
 */
export interface Reply {
  readonly ending: 'complete' | 'broken' | 'left' | 'silent' | 'none';
  /** 0 without an answer. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: number;
  /** What an error says of itself. */
  readonly message: string;
  /** From the question to the head of the answer. */
  readonly headMs: number;
}

export async function ask(question: Question): Promise<Reply> {
  const { url, agent, from, method = 'GET', range, leaveAfterBytes = Infinity, leaveAfterMs } = question;
  const headers = { ...CLIENT_HEADERS, ...(range === undefined ? {} : { range }) };
  const outgoing = request(url, { method, headers, agent, localAddress: from });
  // Whoever reads the answer is told of it too.
  outgoing.on('error', () => undefined);
  let isSilent = false;
  outgoing.setTimeout(SILENCE_MS, () => {
    isSilent = true;
    outgoing.destroy();
  });
  const leave = leaveAfterMs === undefined ? undefined : AbortSignal.timeout(leaveAfterMs);
  leave?.addEventListener('abort', () => outgoing.destroy());
  const startedAt = performance.now();
  const reply = { status: 0, headers: {} as IncomingHttpHeaders, bytes: 0, message: '', headMs: 0 };
  try {
    const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
    outgoing.end();
    const [response] = await answered;
    reply.status = response.statusCode ?? 0;
    reply.headers = response.headers;
    reply.headMs = performance.now() - startedAt;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      reply.bytes += chunk.length;
      if (reply.status >= 400) reply.message += chunk.toString();
      question.onChunk?.(chunk);
      if (reply.bytes >= leaveAfterBytes) return { ...reply, ending: 'left' };
      await pace(question, reply.bytes, startedAt + reply.headMs);
    }
    return { ...reply, ending: 'complete' };
  } catch {
    if (leave?.aborted === true) return { ...reply, ending: 'left' };
    if (isSilent) return { ...reply, ending: 'silent' };
    return { ...reply, ending: reply.status === 0 ? 'none' : 'broken' };
  } finally {
    outgoing.setTimeout(0);
  }
}

async function pace({ bytesPerSecond }: Question, bytes: number, since: number): Promise<void> {
  if (bytesPerSecond === undefined) return;
  const aheadMs = (bytes / bytesPerSecond) * 1000 - (performance.now() - since);
  if (aheadMs > 0) await sleep(Math.min(aheadMs, 1000));
}

import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import type { Answer } from '../../src/upstream/connect/answer.ts';
import { DialGuard } from '../../src/upstream/connect/dial-guard.ts';
import { isLostConnection } from '../../src/upstream/connect/network-failure.ts';
import { TimeLimit } from '../../src/upstream/connect/time-limit.ts';
import { Transport } from '../../src/upstream/connect/transport.ts';
import { Bandwidth } from '../../src/upstream/limits/bandwidth.ts';
import { UpstreamFailure } from '../../src/upstream/upstream.ts';
import { startScriptedAnswers, type ScriptedAnswers } from '../fake/scripted-answers.ts';
import { startTestApp } from '../support/app.ts';
import { fuzz, FUZZ_TIMEOUT_MS } from '../support/fuzz.ts';
import { RawExchange } from '../support/http.ts';
import { tellNobody } from '../support/told.ts';
import {
  cases,
  CONTENT,
  EXCESS,
  framed,
  HostileRegistry,
  KIB,
  type Case,
  type Framed,
  type Reader,
} from '../support/transfer-cases.ts';
import { turns } from '../support/turns.ts';
import { eventually, withDeadline } from '../support/wait.ts';

const CASES_AT_A_TIME = 150;
const LOOKS_EVERY = 10;
const MAX_TRIES = 20;
/** What may hang on to memory between two looks, of which some is the test's own. */
const MAX_GROWTH_BYTES = 40 * KIB * KIB;

interface Seen {
  /** Undefined: no answer came. */
  readonly bytes: Buffer | undefined;
  readonly error: unknown;
}

/** Asks as the product does: again where the connection was lost, which another case may have left behind. */
async function ask(transport: Transport, url: URL): Promise<Answer | UpstreamFailure> {
  for (let tries = 1; ; tries++) {
    const limit = new TimeLimit({ ms: 60_000 });
    try {
      return await transport.send({ method: 'GET', url, headers: {}, limit });
    } catch (error) {
      if (!(error instanceof UpstreamFailure)) throw error;
      if (tries === MAX_TRIES || !isLostConnection(error.cause)) return error;
    } finally {
      limit.end();
    }
  }
}

async function read(answer: Answer, reader: Reader, leavesAfter: number): Promise<Seen> {
  const chunks: Buffer[] = [];
  let count = 0;
  let error: unknown;
  const bandwidth = new Bandwidth({
    upstream: 'docker.io',
    tell: tellNobody,
    limitAt: () => 400 * KIB * KIB,
  });
  const open = new AbortController().signal;
  try {
    for await (const chunk of answer.body) {
      chunks.push(chunk);
      count += chunk.length;
      if (reader === 'gone' && count >= leavesAfter) break;
      if (reader === 'turns') await turn();
      if (reader === 'limited') await bandwidth.take(chunk.length, open);
    }
  } catch (thrown) {
    error = thrown;
  } finally {
    bandwidth.close();
  }
  return { bytes: Buffer.concat(chunks), error };
}

async function transfer(
  transport: Transport,
  server: ScriptedAnswers,
  one: Case,
  { bytes }: Framed,
): Promise<Seen> {
  const sent =
    one.cutAt === undefined
      ? Buffer.concat([bytes, Buffer.from(EXCESS[one.excess])])
      : bytes.subarray(0, one.cutAt);
  const { ending: wanted, pieceBytes, isFlushed } = one;
  // Nothing else would end it.
  const endless = one.framing === 'until close' || sent.length < bytes.length;
  const ending = wanted === 'open' && endless ? 'fin' : wanted;
  const script = server.give({ bytes: sent, pieceBytes, ending, isFlushed });
  try {
    const answer = await ask(transport, script.url);
    if (answer instanceof UpstreamFailure) return { bytes: undefined, error: answer };
    if (one.reader === 'discarded') {
      await answer.body.discard();
      return { bytes: Buffer.alloc(0), error: undefined };
    }
    // Until the connection has ended, or has no room for the rest.
    if (one.reader === 'paused') await Promise.race([script.played.then(() => turns(5)), turns(100)]);
    return await read(answer, one.reader, one.leavesAfter);
  } finally {
    script.forget();
  }
}

function expectRight(one: Case, { bytes: whole, bodyAt }: Framed, { bytes, error }: Seen): void {
  const what = JSON.stringify(one);
  const { protocol, framing, size, cutAt, excess, reader } = one;
  const isCut = cutAt !== undefined && cutAt < whole.length;
  const isReset = one.ending === 'rst';
  // RFC 9112 section 6.1: no HTTP/1.0 server sends chunks, so such an answer may be refused.
  const mayBeRefused = isReset || (framing === 'chunked' && protocol === 'HTTP/1.0');
  if (bytes === undefined) {
    expect(mayBeRefused || (isCut && cutAt < bodyAt), what).toBe(true);
    return;
  }
  const added = framing === 'until close' && cutAt === undefined ? EXCESS[excess] : '';
  const body = Buffer.concat([CONTENT.subarray(0, size), Buffer.from(added)]);
  expect(bytes.equals(body.subarray(0, bytes.length)), what).toBe(true);
  if (reader === 'gone' || reader === 'discarded') return;
  // Nothing tells that such a body goes on; some systems show a reset as an end.
  const mayBeShort = framing === 'until close' && (isCut || isReset);
  if (error === undefined && !mayBeShort) expect(bytes.length, what).toBe(body.length);
  if (mayBeRefused) return;
  if (!isCut) expect(error, what).toBeUndefined();
  // What came before a break is delivered.
  else if (framing !== 'chunked') expect(bytes.length, what).toBe(Math.max(0, cutAt - bodyAt));
}

/** Bytes that this process holds after its garbage is collected. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function resources(kind: string): number {
  return process.getActiveResourcesInfo().filter((name) => name === kind).length;
}

describe('a server that ends its answers in any way, at any moment', () => {
  it(
    'ends at most the transfer that it belongs to, whoever reads, and leaves nothing behind',
    { timeout: 3 * FUZZ_TIMEOUT_MS },
    async () => {
      const server = await startScriptedAnswers();
      const options = { connectTimeoutMs: 30_000, idleTimeoutMs: 60_000, userAgent: 'pierhead/0.0.0-test' };
      const guard = () => new DialGuard({ registry: server.url, networks: [] });
      const timers = resources('Timeout');
      let held: number | undefined;
      let batches = 0;
      const batch = fc.array(cases, { minLength: CASES_AT_A_TIME, maxLength: CASES_AT_A_TIME });
      const property = fc.asyncProperty(batch, async (many) => {
        const transport = new Transport(options, guard());
        await Promise.all(
          many.map(async (one, index) => {
            const whole = framed(one);
            const transferring = transfer(transport, server, one, whole);
            expectRight(one, whole, await withDeadline(transferring, JSON.stringify(one), 60_000));
            // A connection that is used again is at the beginning of an answer.
            const answer = await ask(transport, new URL(`/echo/${index}`, server.url));
            if (answer instanceof UpstreamFailure) throw answer;
            const { bytes } = await read(answer, 'fast', 0);
            expect(bytes?.toString()).toBe(String(index));
          }),
        );
        await transport.close();
        await eventually(() => server.connections === 0, 'all connections to end', 60_000);
        await eventually(() => resources('Timeout') <= timers + 2, 'all timers to end', 60_000);
        if (batches++ % LOOKS_EVERY > 0) return;
        const now = heldBytes();
        held ??= now;
        expect(now - held).toBeLessThan(MAX_GROWTH_BYTES);
      });
      await fc.assert(property, { ...fuzz(20), endOnFailure: true });
    },
  );

  it(
    'never makes a mirror give a client another blob than it asked for, or end',
    { timeout: 3 * FUZZ_TIMEOUT_MS },
    async () => {
      const registry = new HostileRegistry();
      const server = await startScriptedAnswers((head) => registry.answer(head));
      const yaml = `upstreams:\n  docker.io:\n    url: ${server.url.origin}\n    bandwidth: 200MB/s\n`;
      const { url } = await startTestApp({ hub: server.url.origin, yaml });
      const batch = fc.array(cases, { minLength: 40, maxLength: 40 });
      const ends = { whole: 0, short: 0 };
      const property = fc.asyncProperty(batch, async (many) => {
        const digests = many.map((one) => registry.add(one));
        await Promise.all(
          digests.map(async (digest, index) => {
            const request = { origin: url, target: `/v2/library/any/blobs/${digest}`, timeoutMs: 60_000 };
            const { status, complete, body } = await new RawExchange(request).finished();
            const isWhole = status === 200 && complete;
            ends[isWhole ? 'whole' : 'short']++;
            if (isWhole) expect(digestOf(body), JSON.stringify(many[index])).toBe(digest);
          }),
        );
      });
      await fc.assert(property, { ...fuzz(3), endOnFailure: true });
      expect((await fetch(`${url}/healthz`)).status).toBe(200);
      expect(ends.whole).toBeGreaterThan(ends.short);
    },
  );
});

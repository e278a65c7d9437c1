import { once } from 'node:events';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { errorCode } from '../lib/errors.ts';
import { OWN_JSON, parseJson } from '../lib/json.ts';
import {
  CONTROL_PROTOCOL,
  PROTOCOL_HEADER,
  REQUEST_PARAMETER,
  type ControlLine,
  OperationError,
  type EventOf,
  type OperationErrorCode,
  type OperationName,
  type OperationRun,
  type RequestOf,
  type ResultOf,
} from '../operations/protocol.ts';
import { socketPath, controlSocket } from '../store/data-dir.ts';

/**
 * What came of asking the owner of a data directory.
 * - `none`: nobody owns it. `ending`: its owner takes nothing new, because it is about to end.
 */
export type OwnerAnswer<R> =
  { readonly kind: 'done'; readonly result: R } | { readonly kind: 'none' } | { readonly kind: 'ending' };

/** What is to be done, and how it is watched. `bytes`: what an operation is given that takes any. */
export interface Order<N extends OperationName> {
  readonly name: N;
  readonly request: RequestOf<N>;
  readonly run: OperationRun<EventOf<N>>;
  readonly bytes?: () => AsyncIterable<Buffer>;
}

/** Has the owner of the data directory do an operation. Throws OperationError, and what `bytes` throws. */
export async function askOwner<N extends OperationName>(
  dataDir: string,
  { name, request: question, run, bytes }: Order<N>,
): Promise<OwnerAnswer<ResultOf<N>>> {
  const json = JSON.stringify(question);
  const exchange =
    bytes === undefined
      ? await post(dataDir, `/v1/${name}`, { body: json, signal: run.signal })
      : await post(dataDir, `/v1/${name}?${REQUEST_PARAMETER}=${encodeURIComponent(json)}`, run);
  if (exchange === undefined) return { kind: 'none' };
  const { asked, response } = exchange;
  if (response.statusCode === 503) {
    asked.destroy();
    return { kind: 'ending' };
  }
  if (response.statusCode !== 200) {
    asked.end();
    throw refusal(await text(response));
  }
  // Both ends speak the same protocol, and the other one is of the same user.
  const onEvent = run.onEvent as (event: unknown) => void;
  const answer = lastLine(response, onEvent, run.signal);
  if (bytes === undefined) return { kind: 'done', result: (await answer) as ResultOf<N> };
  return { kind: 'done', result: (await whileSending(bytes(), asked, answer)) as ResultOf<N> };
}

/** The answer counts, and may come before everything is sent; but what cannot be read cannot be sent either. */
async function whileSending<T>(
  bytes: AsyncIterable<Buffer>,
  asked: ClientRequest,
  answer: Promise<T>,
): Promise<T> {
  const source = Readable.from(bytes);
  const unreadable = new Promise<never>((_resolve, reject) => source.once('error', reject));
  // Without an end of the body, the other side takes what it got for all there is to come.
  source.pipe(asked);
  try {
    return await Promise.race([answer, unreadable]);
  } finally {
    answer.catch(() => undefined);
    unreadable.catch(() => undefined);
    source.destroy();
    asked.destroy();
  }
}

interface Asked {
  readonly asked: ClientRequest;
  /** Its head has come. */
  readonly response: IncomingMessage;
}

/** Without `body` the request stays open for one. Undefined if nobody is there. */
async function post(
  dataDir: string,
  path: string,
  { body, signal }: { readonly body?: string; readonly signal: AbortSignal },
): Promise<Asked | undefined> {
  const socket = await socketPath(controlSocket(dataDir)).catch(absent);
  if (socket === undefined) return undefined;
  try {
    const headers = { [PROTOCOL_HEADER]: CONTROL_PROTOCOL, 'Content-Type': 'application/json' };
    const asked = request({ socketPath: socket.path, path, method: 'POST', headers, signal, agent: false });
    if (body === undefined) asked.flushHeaders();
    else asked.end(body);
    // Of the answer's body, the answer tells itself.
    asked.on('error', () => undefined);
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return { asked, response };
  } catch (error) {
    signal.throwIfAborted();
    return absent(error);
  } finally {
    await socket.release();
  }
}

/** Undefined if the error says that nobody listens there; else throws what it means. */
function absent(error: unknown): undefined {
  const code = errorCode(error);
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return undefined;
  if (code === 'EACCES' || code === 'EPERM') {
    throw new OperationError('protocol', 'the data directory belongs to a server of another user', error);
  }
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    const message =
      'the server that owns the data directory takes no commands: it is ending, or of an older version';
    throw new OperationError('protocol', message, error);
  }
  throw error;
}

async function lastLine(
  response: IncomingMessage,
  onEvent: (event: unknown) => void,
  signal: AbortSignal,
): Promise<unknown> {
  try {
    for await (const each of lines(response)) {
      const line = parseJson(each, OWN_JSON) as ControlLine;
      if ('result' in line) return line.result;
      if ('error' in line) throw told(line.error);
      if ('event' in line) onEvent(line.event);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof OperationError) throw error;
    throw new OperationError('stopped', 'the server ended before it was done', error);
  }
  signal.throwIfAborted();
  throw new OperationError('stopped', 'the server ended before it was done');
}

/** The lines of an answer. Throws if it ends without its end, as when the server was killed. */
async function* lines(response: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
    const whole = `${rest}${chunk}`.split('\n');
    rest = whole.pop() ?? '';
    yield* whole;
  }
}

function refusal(body: string): OperationError {
  try {
    return told((parseJson(body) as { error: { code: string; message: string } }).error);
  } catch (cause) {
    const message = 'what listens in the data directory does not answer as pierhead does';
    return new OperationError('protocol', message, cause);
  }
}

function told({ code, message }: { readonly code: string; readonly message: string }): OperationError {
  return new OperationError(code as OperationErrorCode, message);
}

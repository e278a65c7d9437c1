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
 * The answer of the process that owns a data directory.
 * - `none`: no process owns it. `ending`: its owner is stopping.
 */
export type OwnerAnswer<R> =
  { readonly kind: 'done'; readonly result: R } | { readonly kind: 'none' } | { readonly kind: 'ending' };

/** One call of an operation. `bytes`: the input of an `IntakeOperation`. */
export interface Order<N extends OperationName> {
  readonly name: N;
  readonly request: RequestOf<N>;
  readonly run: OperationRun<EventOf<N>>;
  readonly bytes?: () => AsyncIterable<Buffer>;
}

/** Runs an operation in the process that owns the data directory. Throws OperationError, and the errors of `bytes`. */
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
  // The server has checked the protocol version, and runs as the same user: its types are trusted.
  const onEvent = run.onEvent as (event: unknown) => void;
  const answer = lastLine(response, onEvent, run.signal);
  if (bytes === undefined) return { kind: 'done', result: (await answer) as ResultOf<N> };
  return { kind: 'done', result: (await whileSending(bytes(), asked, answer)) as ResultOf<N> };
}

/** Resolves to the answer, which may come before all bytes are sent. Rejects if `bytes` cannot be read. */
async function whileSending<T>(
  bytes: AsyncIterable<Buffer>,
  asked: ClientRequest,
  answer: Promise<T>,
): Promise<T> {
  const source = Readable.from(bytes);
  const unreadable = new Promise<never>((_resolve, reject) => source.once('error', reject));
  // pipe() ends the request only after all bytes: the server must not take a part of them for complete.
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
  /** Its head is read, its body is not. */
  readonly response: IncomingMessage;
}

/** Without `body`, the request stays open for a stream. Undefined: no process listens. */
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
    // `response` reports errors of its body.
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

/** Undefined: no process listens. Throws for other errors. */
function absent(error: unknown): undefined {
  const code = errorCode(error);
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return undefined;
  if (code === 'EACCES' || code === 'EPERM') {
    throw new OperationError('protocol', 'the data directory belongs to a server of another user', error);
  }
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    const message =
      'the server that owns the data directory accepts no commands: it is stopping, or has an older version';
    throw new OperationError('protocol', message, error);
  }
  throw error;
}

const ENDED_EARLY = 'the server stopped before the operation was done';

async function lastLine(
  response: IncomingMessage,
  onEvent: (event: unknown) => void,
  signal: AbortSignal,
): Promise<unknown> {
  try {
    for await (const each of lines(response)) {
      const line = parseJson(each, OWN_JSON) as ControlLine;
      if ('result' in line) return line.result;
      if ('error' in line) throw errorOf(line.error);
      if ('event' in line) onEvent(line.event);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof OperationError) throw error;
    throw new OperationError('stopped', ENDED_EARLY, error);
  }
  signal.throwIfAborted();
  throw new OperationError('stopped', ENDED_EARLY);
}

/** The lines of an answer. Throws if the connection breaks, as when the server is killed. */
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
    return errorOf((parseJson(body) as { error: { code: string; message: string } }).error);
  } catch (cause) {
    return new OperationError(
      'protocol',
      'the control socket in the data directory is not that of Pierhead',
      cause,
    );
  }
}

function errorOf({ code, message }: { readonly code: string; readonly message: string }): OperationError {
  return new OperationError(code as OperationErrorCode, message);
}

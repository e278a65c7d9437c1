import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { CONTROL_PROTOCOL, PROTOCOL_HEADER, type ControlLine } from '../lib/control-protocol.ts';
import { socketPath } from '../lib/socket-path.ts';
import {
  OperationError,
  type EventOf,
  type OperationErrorCode,
  type OperationName,
  type OperationRun,
  type RequestOf,
  type ResultOf,
} from '../pull/operations.ts';
import { controlSocket } from '../store/data-dir.ts';

/**
 * What came of asking the owner of a data directory.
 * - `none`: nobody owns it. `ending`: its owner takes nothing new, because it is about to end.
 */
export type OwnerAnswer<R> =
  { readonly kind: 'done'; readonly result: R } | { readonly kind: 'none' } | { readonly kind: 'ending' };

/** Has the owner of the data directory do an operation. Throws OperationError. */
export async function askOwner<N extends OperationName>(
  dataDir: string,
  { name, request: question, run }: { name: N; request: RequestOf<N>; run: OperationRun<EventOf<N>> },
): Promise<OwnerAnswer<ResultOf<N>>> {
  const response = await post(dataDir, `/v1/${name}`, { body: JSON.stringify(question), signal: run.signal });
  if (response === undefined) return { kind: 'none' };
  if (response.statusCode === 503) {
    response.destroy();
    return { kind: 'ending' };
  }
  if (response.statusCode !== 200) throw refusal(await text(response));
  // Both ends speak the same protocol, and the other one is of the same user.
  const onEvent = run.onEvent as (event: unknown) => void;
  return { kind: 'done', result: (await lastLine(response, onEvent, run.signal)) as ResultOf<N> };
}

/** The head of the answer; undefined if nobody is there. */
async function post(
  dataDir: string,
  path: string,
  { body, signal }: { body: string; signal: AbortSignal },
): Promise<IncomingMessage | undefined> {
  const socket = await socketPath(controlSocket(dataDir)).catch(absent);
  if (socket === undefined) return undefined;
  try {
    const headers = { [PROTOCOL_HEADER]: CONTROL_PROTOCOL, 'Content-Type': 'application/json' };
    const asked = request({ socketPath: socket.path, path, method: 'POST', headers, signal, agent: false });
    asked.end(body);
    // Of the answer's body, the answer tells itself.
    asked.on('error', () => undefined);
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return response;
  } catch (error) {
    signal.throwIfAborted();
    return absent(error);
  } finally {
    await socket.release();
  }
}

/** Undefined if the error says that nobody listens there; else throws what it means. */
function absent(error: unknown): undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
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
      const line = JSON.parse(each) as ControlLine;
      if ('result' in line) return line.result;
      if ('error' in line) throw told(line.error);
      onEvent(line.event);
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
    return told((JSON.parse(body) as { error: { code: string; message: string } }).error);
  } catch (cause) {
    const message = 'what listens in the data directory does not answer as pierhead does';
    return new OperationError('protocol', message, cause);
  }
}

function told({ code, message }: { readonly code: string; readonly message: string }): OperationError {
  return new OperationError(code as OperationErrorCode, message);
}

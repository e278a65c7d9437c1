import type { RequestListener } from 'node:http';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { Hono, type Context } from 'hono';
import { stream } from 'hono/streaming';
import type { Tell } from '../../events/events.ts';
import { messageOf } from '../../lib/errors.ts';
import { OWN_JSON, parseJson } from '../../lib/json.ts';
import {
  CONTROL_PROTOCOL,
  OperationError,
  PROTOCOL_HEADER,
  REQUEST_PARAMETER,
  REQUESTS,
  type ControlLine,
  type IntakeOperation,
  type Operation,
  type OperationName,
  type OperationRun,
  type Operations,
  type RequestOf,
} from '../../operations/protocol.ts';

export interface ControlOptions {
  readonly operations: Operations;
  /** The version of this program, for error messages. */
  readonly version: string;
  readonly tell: Tell<'fault'>;
}

export interface Control {
  readonly listener: RequestListener;
  /** Refuses new operations; resolves when all running ones have ended. */
  drain(): Promise<void>;
  /** Refuses new operations and stops the running ones; resolves when they have ended. */
  stop(): Promise<void>;
}

/**
 * The routes of the control socket: `POST /v1/<operation>` with the request as JSON. The response is one JSON object
 * per line, until the operation ends. An operation ends when its caller leaves. The permissions of the socket decide
 * who may call. If an operation takes bytes, they are the body, and the request is in the query.
 */
export function createControl(options: ControlOptions): Control {
  const { operations, version } = options;
  const runs = new OperationRuns(options.tell);
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.use(async (context, next) => {
    const spoken = context.req.header(PROTOCOL_HEADER);
    if (spoken === String(CONTROL_PROTOCOL)) return next();
    const message = `pierhead ${version} uses the data directory and speaks control protocol ${CONTROL_PROTOCOL}, not ${spoken ?? 'none'}; use the commands of that version`;
    return refuse(context, 400, new OperationError('protocol', message));
  });
  app.get('/v1/owner', (context) => context.json({ version, protocol: CONTROL_PROTOCOL, pid: process.pid }));
  app.post('/v1/verify', (context) => runs.answer(context, 'verify', operations.verify));
  app.post('/v1/resolve', (context) => runs.answer(context, 'resolve', operations.resolve));
  app.post('/v1/pin', (context) => runs.answer(context, 'pin', operations.pin));
  app.post('/v1/unpin', (context) => runs.answer(context, 'unpin', operations.unpin));
  app.post('/v1/remove', (context) => runs.answer(context, 'remove', operations.remove));
  app.post('/v1/refresh', (context) => runs.answer(context, 'refresh', operations.refresh));
  app.post('/v1/warm', (context) => runs.answer(context, 'warm', operations.warm));
  app.post('/v1/flush', (context) => runs.answer(context, 'flush', operations.flush));
  app.post('/v1/import', (context) => runs.answerIntake(context, 'import', operations.import));
  app.notFound((context) =>
    refuse(context, 404, new OperationError('usage', `pierhead ${version} has no such operation`)),
  );
  app.onError((error, context) => {
    if (error instanceof OperationError) return refuse(context, 400, error);
    options.tell('fault', { where: 'control', error });
    return refuse(context, 500, new OperationError('failed', 'internal error'));
  });
  const listener = getRequestListener(app.fetch);
  return {
    listener: (request, response) => void listener(request, response),
    drain: () => runs.drain(),
    stop: () => runs.stop(),
  };
}

/** The running operations. */
class OperationRuns {
  readonly #tell: Tell<'fault'>;
  readonly #ending = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #isClosed = false;

  constructor(tell: Tell<'fault'>) {
    this.#tell = tell;
  }

  async answer<N extends OperationName, E, R>(
    context: Context,
    name: N,
    operation: Operation<RequestOf<N>, E, R>,
  ): Promise<Response> {
    const request = readRequest(name, await context.req.text().catch(() => ''));
    return this.#stream<E, R>(context, (run) => operation(request, run));
  }

  /** The first line accepts the bytes: until then the caller keeps them, and can take them elsewhere. */
  async answerIntake<N extends OperationName, E, R>(
    context: Context<{ Bindings: HttpBindings }>,
    name: N,
    operation: IntakeOperation<RequestOf<N>, E, R>,
  ): Promise<Response> {
    const request = readRequest(name, context.req.query(REQUEST_PARAMETER) ?? '');
    // A web stream would be several times slower.
    const chunks: AsyncIterator<Buffer> = context.env.incoming[Symbol.asyncIterator]();
    // Without `return`, an early end of reading does not close the connection, which still carries the response.
    const bytes = { [Symbol.asyncIterator]: () => ({ next: () => chunks.next() }) };
    return this.#stream<E, R>(context, (run) => operation(request, run, bytes), {
      first: { begun: true },
      afterwards: () => readAway(chunks),
    });
  }

  #stream<E, R>(
    context: Context,
    operation: (run: OperationRun<E>) => Promise<R>,
    { first, afterwards }: { readonly first?: ControlLine; readonly afterwards?: () => Promise<void> } = {},
  ): Response {
    if (this.#isClosed) return refuse(context, 503, new OperationError('stopped', 'the process is ending'));
    context.header('Content-Type', 'application/x-ndjson');
    return stream(context, async (out) => {
      const gone = new AbortController();
      out.onAbort(() => gone.abort());
      const tell = (line: ControlLine): Promise<unknown> => out.write(`${JSON.stringify(line)}\n`);
      const signal = AbortSignal.any([gone.signal, this.#ending.signal]);
      if (first !== undefined) await tell(first);
      const run = operation({ signal, onEvent: (event) => void tell({ event }) }).then(
        (result) => ({ result }),
        (error: unknown) => ({ error: this.#errorLine(error, signal) }),
      );
      const told = run.then(tell).then(() => undefined);
      this.#running.add(told);
      await told.finally(() => this.#running.delete(told));
      await afterwards?.();
    });
  }

  async drain(): Promise<void> {
    this.#isClosed = true;
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  stop(): Promise<void> {
    this.#ending.abort(new OperationError('stopped', 'the process is ending'));
    return this.drain();
  }

  /** The error line for the caller. Errors that are not an OperationError are faults of this program. */
  #errorLine(error: unknown, signal: AbortSignal): { readonly code: string; readonly message: string } {
    if (error instanceof OperationError) return { code: error.code, message: error.message };
    if (signal.aborted) return { code: 'stopped', message: 'the operation was stopped' };
    this.#tell('fault', { where: 'control', error });
    return { code: 'failed', message: messageOf(error) };
  }
}

/** Reads the rest of the bytes: a caller that is cut off while it sends would not read the error. */
async function readAway(chunks: AsyncIterator<Buffer>): Promise<void> {
  try {
    while ((await chunks.next()).done !== true);
  } catch {
    // The caller has left.
  }
}

/** Throws OperationError if the request does not match its schema. */
function readRequest<N extends OperationName>(name: N, text: string): RequestOf<N> {
  const { data, error } = REQUESTS[name].safeParse(jsonIn(text));
  if (error === undefined) return data as RequestOf<N>;
  const [problem] = error.issues;
  throw new OperationError('usage', `${String(problem?.path[0])} ${problem?.message}`);
}

function jsonIn(text: string): object {
  try {
    const json = parseJson(text, OWN_JSON);
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json;
  } catch {
    // Reported below.
  }
  throw new OperationError('usage', 'the request is not JSON');
}

function refuse(context: Context, status: 400 | 404 | 500 | 503, error: OperationError): Response {
  return context.json({ error: { code: error.code, message: error.message } }, status);
}

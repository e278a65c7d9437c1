import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { deferred } from '../../src/lib/promises.ts';
import { freePort } from '../support/free-port.ts';
import { answerByFault, bendAnswer, errorAnswer, type Answer } from './answer.ts';
import type { ActiveFault, FaultBook } from './faults.ts';
import type { HostName, LoggedRequest, RequestLog, RequestTarget } from './log.ts';
import { hangUp, pause, sendAnswer, type Stop } from './send.ts';

/** One of the servers: what its paths mean and what it truly says. */
export interface Site {
  readonly host: HostName;
  target(path: string, query: URLSearchParams): RequestTarget;
  answer(request: LoggedRequest, message: IncomingMessage): Answer | Promise<Answer>;
}

export interface SiteOptions {
  readonly log: RequestLog;
  readonly faults: FaultBook;
  readonly nowMs: () => number;
  /** Where bodies of this request must wait. */
  readonly stopsFor: (request: LoggedRequest, answer: Answer) => readonly Stop[];
}

/** Runs a site on a port of 127.0.0.1 that stays the same over stops and starts. */
export class SiteServer {
  readonly #site: Site;
  readonly #options: SiteOptions;
  #server: Server | undefined;
  #port: number | undefined;

  constructor(site: Site, options: SiteOptions) {
    this.#site = site;
    this.#options = options;
  }

  /** Known once it was started. */
  get port(): number {
    return this.#port ?? 0;
  }

  async start(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer((message, response) => void this.#serve(message, response));
    this.#server = server;
    const port = (this.#port ??= await freePort());
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
  }

  /** Closes the port and every connection. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const { log, faults } = this.#options;
    const request = this.#logged(message);
    log.add(request);
    response.once('close', () => {
      request.closed = true;
      log.changed();
    });
    try {
      await this.#answer(request, message, response, faults.take(request));
    } catch (error) {
      log.violations.push({ reason: `the stand-in itself failed: ${String(error)}`, request });
      response.destroy();
    }
  }

  async #answer(
    request: LoggedRequest,
    message: IncomingMessage,
    response: ServerResponse,
    fault: ActiveFault | undefined,
  ): Promise<void> {
    const action = fault?.action ?? {};
    if (action.hang) return;
    if (fault !== undefined) await holdHead(response, fault);
    if (response.destroyed) return;
    if (action.hangUp !== undefined) return hangUp(response.socket, action.hangUp);
    if (action.raw !== undefined) return void response.socket?.end(action.raw);
    if (action.ignoreRange) delete request.headers.range;
    const answer = answerByFault(action, request) ?? (await this.#site.answer(request, message));
    const bent = bendAnswer(answer, action);
    await sendAnswer(response, request, bent, {
      stops: this.#options.stopsFor(request, answer),
      changed: () => this.#options.log.changed(),
      ...(fault === undefined ? {} : { fault }),
    });
  }

  #logged(message: IncomingMessage): LoggedRequest {
    const target = message.url ?? '/';
    const mark = target.indexOf('?');
    const path = mark < 0 ? target : target.slice(0, mark);
    const query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1));
    return {
      ...this.#site.target(path, query),
      host: this.#site.host,
      method: message.method ?? 'GET',
      path,
      query,
      headers: { ...message.headers },
      rawHeaders: message.rawHeaders,
      at: this.#options.nowMs(),
      status: undefined,
      bytesSent: 0,
      identity: undefined,
      closed: false,
    };
  }
}

async function holdHead(response: ServerResponse, fault: ActiveFault): Promise<void> {
  const closed = deferred<void>();
  response.once('close', () => closed.resolve());
  if (fault.action.delayHeadersMs !== undefined) await pause(fault.action.delayHeadersMs, closed.promise);
  if (fault.action.holdHeaders) await Promise.race([fault.gate.pass(), closed.promise]);
}

export const NOT_FOUND = errorAnswer(404, { code: 'NOT_FOUND', message: 'page not found' });

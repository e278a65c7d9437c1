import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Context } from 'hono';
import { LRUCache } from 'lru-cache';
import type { Tell } from '../../events/events.ts';
import { after, type MaybePromise } from '../../lib/promises.ts';
import type { PlatformRule } from '../../mirror/answer/answers.ts';
import { clientAddress } from '../server/addresses.ts';
import type { Health } from '../server/health.ts';
import {
  admit,
  checkNetwork,
  clientRuleFinder,
  type AdmissionOptions,
  type ClientRule,
  type FoundRule,
} from './clients.ts';
import { isInternal, RequestError, sendError, type FailMode } from './errors.ts';
import { isRead, type Exchange, type RequestKind } from './exchange.ts';

export interface RouteOptions {
  readonly admission: AdmissionOptions;
  readonly failMode: FailMode;
  readonly clients: readonly ClientRule[];
  readonly isTrustedProxy: (address: string) => boolean;
  readonly health: () => Health;
  readonly tell: Tell<'fault'>;
}

export interface PlatformRules {
  /** The rule for the client's network. */
  readonly rule: PlatformRule | undefined;
  /** What a response by tag depends on besides `?platform=`: request headers only, or also the client's network. */
  readonly varies: 'by-headers' | 'by-network';
}

/** What a request asks for, from its target alone. */
export interface Asked {
  /** The parameters of the path, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
}

/** A request that may be answered. */
export interface Admitted {
  readonly exchange: Exchange;
  readonly platforms: PlatformRules;
  /** Whether the account may pull a repository (`docker.io/library/golang`). Undefined: all. */
  readonly mayPull: ((repository: string) => boolean) | undefined;
}

/** Sends the response. Throws RequestError or PullError, or rejects with one, before the headers are sent. */
export type Answer = (admitted: Admitted) => MaybePromise<void>;

/** Reads a target. The result answers every request for this target. Throws RequestError or PullError. */
export type Reader = (asked: Asked) => Answer;

export interface RegistryEnv {
  readonly Bindings: HttpBindings;
}

/** Makes the handler of a route. */
export type Route = (kind: RequestKind, read: Reader) => (context: Context<RegistryEnv>) => Response;

/** The answer to requests for one target. */
interface Known {
  readonly kind: RequestKind;
  readonly answer: Answer;
}

/** A fleet asks for a few thousand targets again and again. */
const MAX_KNOWN_BYTES = 8 * 1024 * 1024;
/** Per target, besides its text. */
const KNOWN_BYTES = 1000;

/**
 * The common part of all client requests: admission and errors. Handlers write to Node's response: with a `Response` of
 * Hono, a manifest would cost twice as much. `onBegin` is called first.
 */
export class Routing {
  readonly #options: RouteOptions;
  readonly #onBegin: (exchange: Exchange) => void;
  readonly #ruleFor: (address: string) => FoundRule | undefined;
  readonly #varies: PlatformRules['varies'];
  /** Reads of targets that Hono has routed. Its choice depends on nothing else. */
  readonly #known = new LRUCache<string, Known>({
    maxSize: MAX_KNOWN_BYTES,
    sizeCalculation: (_known, target) => KNOWN_BYTES + target.length,
  });

  constructor(options: RouteOptions, onBegin: (exchange: Exchange) => void) {
    this.#options = options;
    this.#onBegin = onBegin;
    this.#ruleFor = clientRuleFinder(options.clients);
    const isByNetwork = options.clients.some(({ platform }) => platform !== undefined);
    this.#varies = isByNetwork ? 'by-network' : 'by-headers';
  }

  readonly route: Route = (kind, read) => {
    return ({ env: { incoming, outgoing }, req }) => {
      const target = incoming.url ?? '';
      const asked = { params: req.param(), query: queryOf(target) };
      const answer: Answer = (admitted) => {
        const known = { kind, answer: read(asked) };
        if (isRead(incoming)) this.#known.set(target, known);
        return known.answer(admitted);
      };
      this.#begin(incoming, outgoing, { kind, answer });
      return RESPONSE_ALREADY_SENT;
    };
  };

  /** Answers a read of a target that was read before. Returns false for any other request. */
  answerKnown(incoming: IncomingMessage, outgoing: ServerResponse): boolean {
    const known = isRead(incoming) ? this.#known.get(incoming.url ?? '') : undefined;
    if (known !== undefined) this.#begin(incoming, outgoing, known);
    return known !== undefined;
  }

  #begin(incoming: IncomingMessage, outgoing: ServerResponse, known: Known): void {
    const exchange = startExchange(incoming, outgoing, this.#options.isTrustedProxy);
    this.#onBegin(exchange);
    if (this.#options.health().isStopping) outgoing.setHeader('Connection', 'close');
    try {
      const answered = this.#respond(exchange, known);
      if (answered instanceof Promise) answered.catch((error: unknown) => this.#refuse(exchange, error));
    } catch (error) {
      this.#refuse(exchange, error);
    }
  }

  #respond(exchange: Exchange, { kind, answer }: Known): MaybePromise<void> {
    const { admission } = this.#options;
    checkNetwork(admission, exchange);
    checkHost(exchange.request);
    // Health checks have no account.
    const admitted = kind === 'health' ? undefined : admit(admission, exchange);
    return after(admitted, (account) => {
      exchange.account = account?.name;
      exchange.kind = kind;
      const platforms = { rule: this.#ruleFor(exchange.client), varies: this.#varies };
      return answer({ exchange, platforms, mayPull: account?.mayPull });
    });
  }

  #refuse(exchange: Exchange, error: unknown): void {
    const { failMode, tell } = this.#options;
    const { response, kind } = exchange;
    try {
      if (isInternal(error)) tell('fault', { where: kind, error });
      if (response.headersSent || response.destroyed) response.destroy();
      else sendError(exchange, error, this.#ruleFor(exchange.client)?.failMode ?? failMode);
    } catch (sendFailure) {
      // It must end this one response, and not the server.
      tell('fault', { where: kind, error: sendFailure });
      response.destroy();
    }
  }
}

/** Shared, so never changed. */
const NO_QUERY = new URLSearchParams();

/** The end of the path of a request target. */
export function queryAt(target: string): number {
  const question = target.indexOf('?');
  return question < 0 ? target.length : question;
}

function queryOf(target: string): URLSearchParams {
  const at = queryAt(target);
  return at === target.length ? NO_QUERY : new URLSearchParams(target.slice(at + 1));
}

function startExchange(
  request: IncomingMessage,
  response: ServerResponse,
  isTrustedProxy: (address: string) => boolean,
): Exchange {
  const client = clientAddress(request, isTrustedProxy);
  return {
    request,
    response,
    client,
    startedAt: performance.now(),
    account: undefined,
    kind: 'other',
    repository: undefined,
    reference: undefined,
    cache: 'local',
    bytes: 0,
    vary: undefined,
    namespace: undefined,
  };
}

/** Throws RequestError unless there is one Host header (RFC 9112 section 3.2); HTTP/1.0 may omit it. */
function checkHost({ rawHeaders, httpVersion }: IncomingMessage): void {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts++;
  }
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1')) {
    throw new RequestError(400, 'UNSUPPORTED', 'a request needs one Host header');
  }
}

import { answerStatus, type Exchange } from '../http/exchange.ts';
import type { Logger } from './log.ts';

/** One line per request. The repository and reference are by the grammar when they are there; queries never are. */
export function logExchange(log: Logger, exchange: Exchange): void {
  const { request, response, client, account, kind, repository, reference, cache, bytes } = exchange;
  const line = {
    client,
    account,
    method: request.method,
    kind,
    repository,
    reference,
    status: answerStatus(exchange),
    bytes,
    durationMs: Math.round((performance.now() - exchange.startedAt) * 10) / 10,
    cache,
    aborted: response.writableFinished ? undefined : true,
    // C1 controls, which Node lets through: some terminals obey them.
    userAgent: request.headers['user-agent']?.replaceAll(/[\u0080-\u009f]/g, '?'),
  };
  if (kind === 'health') log.debug(line, 'request');
  else log.info(line, 'request');
}

import api from 'undici/lib/api/index.js';
import buildConnector from 'undici/lib/core/connect.js';
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
import EnvHttpProxyAgent from 'undici/lib/dispatcher/env-http-proxy-agent.js';
import Pool from 'undici/lib/dispatcher/pool.js';

/*
 * What is used of undici. The whole package, with its fetch, WebSocket, mocks and caches, takes 4 MB and 50 ms more, at
 * every start and for as long as a server runs.
 */

// As its own index.js does: its agent for proxies asks them by `connect`.
Object.assign(Dispatcher.prototype, api);

export { buildConnector, EnvHttpProxyAgent, Pool };
export type { Dispatcher } from 'undici';

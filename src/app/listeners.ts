import type { Server } from 'node:http';
import { Accounts } from '../accounts/accounts.ts';
import { formatListen, type ListenAddress } from '../config/addresses.ts';
import type { Settings } from '../config/settings.ts';
import { placeOf, type ShownSetting } from '../config/shown.ts';
import { createAdminListener, type AdminRoutesOptions } from '../http/admin/routes.ts';
import { type AdmissionOptions, RequestRates } from '../http/registry/clients.ts';
import { createRegistryServer } from '../http/registry/server.ts';
import { isLoopback, networkMatcher } from '../http/server/addresses.ts';
import type { Health } from '../http/server/health.ts';
import { drainWithin, listen, type Listener } from '../http/server/listener.ts';
import { createHttpServer, type HttpServerOptions } from '../http/server/server.ts';
import { Tls } from '../http/server/tls.ts';
import { errorCode, StartError } from '../lib/errors.ts';
import type { Logger } from '../log/log.ts';
import type { Cleanup } from './cleanup.ts';
import type { Parts } from './parts.ts';

/** `place` names the setting: `--listen`, `PIERHEAD_LISTEN` or `pierhead.yaml:3`. */
export function listenFailure(address: ListenAddress, place: string, cause: unknown): StartError {
  return new StartError(sentence(address, place, cause), { cause });
}

function sentence(address: ListenAddress, place: string, cause: unknown): string {
  const { host, port } = address;
  const code = errorCode(cause);
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is in use (${place}); stop the other program or set another port`;
    case 'EACCES':
    case 'EPERM':
      return `no permission to listen on port ${port} (${place}); set a port from 1024 up`;
    case 'EADDRNOTAVAIL':
      return `${host} is not an address of this machine (${place}); set one that is, or 0.0.0.0`;
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return `this machine cannot listen on ${host} (${place}); set another address, such as 0.0.0.0`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_FAIL':
      return `the host name ${host} has no address (${place}); set a name that has one, or 0.0.0.0`;
    default:
      return `cannot listen on ${formatListen(address)} (${place}): ${code ?? String(cause)}; set another address`;
  }
}

/** Time limit for running answers when the server stops. */
const DRAIN_MS = 30_000;

interface ListenersOptions {
  readonly settings: Settings;
  readonly shown: readonly ShownSetting[];
  readonly log: Logger;
  readonly parts: Parts;
  readonly health: () => Health;
}

/** The addresses on which the server listens. */
interface Listeners {
  readonly listenUrl: string;
  readonly authUrl: string | undefined;
  readonly adminUrl: string | undefined;
  /** Number of client requests with an unfinished answer. */
  readonly answering: number;
}

/** Listens on all addresses of the settings. Throws FileError, StartError. */
export async function openListeners(options: ListenersOptions, cleanup: Cleanup): Promise<Listeners> {
  const { settings } = options;
  const tls = openTls(options, cleanup);
  const rate = settings.requestRate;
  const rates =
    rate === undefined ? undefined : new RequestRates({ ...rate, prefixBits: settings.requestRateNetworks });
  const open = async (
    key: 'listen' | 'authListen',
    address: ListenAddress,
    admission: AdmissionOptions,
  ): Promise<Listener> => {
    const listener = await listenAt(key, address, registryServer(options, tls, admission), options);
    cleanup.pushWork(() => drainWithin(listener, DRAIN_MS));
    return listener;
  };
  const accounts = openAccounts(options, cleanup);
  const registry = await open('listen', settings.listen, {
    isAllowed: networkMatcher(settings.allowNetworks),
    networksSetting: 'allowNetworks',
    needsClientCertificate: tls?.needsClientCertificate ?? false,
    rates,
    accounts: undefined,
  });
  const auth =
    settings.authListen === undefined
      ? undefined
      : await open('authListen', settings.authListen, {
          isAllowed: networkMatcher(settings.authNetworks),
          networksSetting: 'authNetworks',
          needsClientCertificate: false,
          rates,
          accounts,
        });
  const admin = await openAdmin(options, tls, cleanup);
  const clientListeners = auth === undefined ? [registry] : [registry, auth];
  return {
    listenUrl: registry.url,
    authUrl: auth?.url,
    adminUrl: admin?.url,
    get answering() {
      return clientListeners.reduce((sum, { answering }) => sum + answering, 0);
    },
  };
}

/** Throws StartError. */
async function listenAt(
  key: 'listen' | 'authListen' | 'adminListen',
  address: ListenAddress,
  server: Server,
  { shown }: Pick<ListenersOptions, 'shown'>,
): Promise<Listener> {
  return listen(server, address).catch((error: unknown) => {
    throw listenFailure(address, placeOf(shown, key), error);
  });
}

function openTls({ settings, parts }: ListenersOptions, cleanup: Cleanup): Tls | undefined {
  const { tlsCert: cert, tlsKey: key, tlsClientCa: clientCa } = settings;
  if (cert === undefined || key === undefined) return undefined;
  const tls = new Tls({ cert, key, clientCa, tell: parts.tell });
  cleanup.push(async () => tls.close());
  return tls;
}

function openAccounts({ settings, log, parts }: ListenersOptions, cleanup: Cleanup): Accounts | undefined {
  const { authListen, htpasswdFile, tokensFile, accounts: rules } = settings;
  if (authListen === undefined) return undefined;
  const accounts = new Accounts({ htpasswdFile, tokensFile, rules, tell: parts.tell });
  cleanup.push(() => accounts.close());
  if (settings.tlsCert === undefined && !isLoopback(authListen.host)) {
    log.warn(
      { setting: 'authListen', needs: ['tlsCert', 'tlsKey'] },
      'credentials cross network unencrypted',
    );
  }
  return accounts;
}

function registryServer(
  { settings, parts, health }: ListenersOptions,
  tls: Tls | undefined,
  admission: AdmissionOptions,
) {
  const { mirror } = parts;
  return createRegistryServer({
    ...serverOptions(settings, parts),
    tls,
    asksForCertificates: admission.needsClientCertificate,
    mirror,
    admission,
    failMode: settings.failMode,
    clients: settings.clients,
    health,
  });
}

async function openAdmin(
  { settings, shown, parts, health }: ListenersOptions,
  tls: Tls | undefined,
  cleanup: Cleanup,
): Promise<Listener | undefined> {
  const { adminListen, adminHosts, adminToken } = settings;
  if (adminListen === undefined) return undefined;
  const { metrics, operations, tell } = parts;
  const routes: AdminRoutesOptions = {
    adminToken,
    hosts: [adminListen.host.toLowerCase(), ...adminHosts],
    health,
    metrics: () => metrics.render(),
    settings: () => shown,
    operations,
    tell,
  };
  const options = serverOptions(settings, parts);
  // Traffic on loopback needs no encryption. So Prometheus on this machine needs no certificate.
  const ownTls = isLoopback(adminListen.host) ? {} : { tls };
  const server = createHttpServer(
    { ...options, ...ownTls, limits: { ...options.limits, stallTimeoutMs: 0 } },
    createAdminListener(routes),
  );
  const listener = await listenAt('adminListen', adminListen, server, { shown });
  cleanup.push(async () => {
    listener.cut();
    await listener.drain();
  });
  return listener;
}

/** Options of all addresses. Callers add TLS. */
function serverOptions(settings: Settings, { tell }: Parts): HttpServerOptions {
  return {
    limits: {
      maxConnections: settings.maxConnections,
      maxConnectionsPerAddress: settings.maxClientConnections,
      headersTimeoutMs: settings.clientHeadersTimeoutMs,
      idleTimeoutMs: settings.clientIdleTimeoutMs,
      stallTimeoutMs: settings.clientStallTimeoutMs,
    },
    tls: undefined,
    asksForCertificates: false,
    isTrustedProxy: networkMatcher(settings.trustedProxies),
    tell,
  };
}

import type { RegistryServerOptions } from '../../src/http/registry/server.ts';
import type { Mirror } from '../../src/mirror/mirror.ts';
import { tellNobody } from './told.ts';

/** Admits everybody. */
export const ADMISSION = {
  isAllowed: () => true,
  networksSetting: 'allowNetworks',
  needsClientCertificate: false,
  rates: undefined,
  accounts: undefined,
} as const;

/** Options of a server for clients, with a mirror that can do nothing. */
export function registryOptions(own: Partial<RegistryServerOptions>): RegistryServerOptions {
  return {
    limits: {
      maxConnections: 10,
      maxConnectionsPerAddress: 10,
      headersTimeoutMs: 10_000,
      idleTimeoutMs: 10_000,
      stallTimeoutMs: 10_000,
    },
    tls: undefined,
    asksForCertificates: false,
    isTrustedProxy: () => false,
    tell: tellNobody,
    mirror: {} as Mirror,
    admission: ADMISSION,
    failMode: 'fallthrough',
    clients: [],
    health: () => ({ isStopping: false, degraded: [] }),
    ...own,
  };
}

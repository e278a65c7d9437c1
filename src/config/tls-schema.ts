import { certificateProblem } from '../lib/certificates.ts';
import { line } from './fields.ts';
import type { Setting } from './setting.ts';

/** The settings of TLS by key. */
export const TLS_SETTINGS = {
  tlsCert: {
    env: 'PIERHEAD_TLS_CERT',
    flag: '--tls-cert',
    argument: '<file>',
    example: '/etc/pierhead/tls.crt',
    allowed: 'a readable file in PEM form, together with tlsKey',
    help: 'Certificate, and those between it and its root, for listen, authListen and, off loopback, adminListen; read again when it changes. None: plain HTTP.',
    holds: 'file',
    fileProblem: certificateProblem,
    needs: ['tlsKey'],
    schema: line().exactOptional(),
  },
  tlsKey: {
    env: 'PIERHEAD_TLS_KEY',
    flag: '--tls-key',
    argument: '<file>',
    example: '/etc/pierhead/tls.key',
    allowed: 'a readable file in PEM form, together with tlsCert',
    help: 'The key of that certificate.',
    holds: 'file',
    needs: ['tlsCert'],
    schema: line().exactOptional(),
  },
  tlsClientCa: {
    env: 'PIERHEAD_TLS_CLIENT_CA',
    flag: '--tls-client-ca',
    argument: '<file>',
    example: '/etc/pierhead/client-ca.crt',
    allowed: 'a readable file in PEM form, together with tlsCert',
    help: 'Authorities whose certificates clients need at listen, besides being of allowNetworks; none: they need none.',
    holds: 'file',
    fileProblem: certificateProblem,
    needs: ['tlsCert'],
    schema: line().exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

import { line, secret } from './fields.ts';
import type { Setting } from './setting.ts';

/** As of a bearer token: what it signs lies where others may try to guess it. */
const MIN_SECRET_LENGTH = 20;

/** The settings of servers that belong together by key. */
export const FLEET_SETTINGS = {
  fleetSecret: {
    env: 'PIERHEAD_FLEET_SECRET',
    flag: '--fleet-secret',
    argument: '<text>',
    example: 'the-same-long-random-text-everywhere',
    allowed: `text of at least ${MIN_SECRET_LENGTH} characters without control characters`,
    help: 'By this secret the servers on one Redis believe each other which repositories are public and what they hold; none: each asks upstream for itself. On a command line others can read it.',
    holds: 'secret',
    excludes: ['fleetSecretFile'],
    schema: secret({ minLength: MIN_SECRET_LENGTH }).exactOptional(),
  },
  fleetSecretFile: {
    env: 'PIERHEAD_FLEET_SECRET_FILE',
    flag: '--fleet-secret-file',
    argument: '<file>',
    example: '/run/secrets/fleet-secret',
    allowed: `a readable file, one line of at least ${MIN_SECRET_LENGTH} characters`,
    help: 'File that holds the fleet secret.',
    holds: 'file',
    holdsValueOf: 'fleetSecret',
    excludes: ['fleetSecret'],
    schema: line().exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

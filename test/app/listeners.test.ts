import { describe, expect, it } from 'vitest';
import { listenFailure } from '../../src/app/listeners.ts';
import { StartError } from '../../src/lib/errors.ts';

describe('an address that cannot be listened on', () => {
  it.each([
    ['EADDRINUSE', 'port 80 is in use (--listen); stop the other program or set another port'],
    ['EACCES', 'no permission to listen on port 80 (--listen); set a port from 1024 up'],
    ['EADDRNOTAVAIL', '::1 is not an address of this machine (--listen); set one that is, or 0.0.0.0'],
    ['EAFNOSUPPORT', 'this machine cannot listen on ::1 (--listen); set another address, such as 0.0.0.0'],
    ['ENOTFOUND', 'the host name ::1 has no address (--listen); set a name that has one, or 0.0.0.0'],
    ['EMFILE', 'cannot listen on [::1]:80 (--listen): EMFILE; set another address'],
  ])('is told of as a sentence after %s', (code, message) => {
    const cause = Object.assign(new Error('of the system'), { code });
    const failure = listenFailure({ host: '::1', port: 80 }, '--listen', cause);
    expect(failure).toBeInstanceOf(StartError);
    expect(failure).toMatchObject({ message, cause });
  });
});

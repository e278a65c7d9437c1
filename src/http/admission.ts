import type { Account } from '../access/account.ts';
import type { Accounts, Refusal } from '../access/accounts.ts';
import type { Exchange } from './exchange.ts';
import { RequestError } from './request-error.ts';
import type { RequestRates } from './request-rates.ts';
import { hasClientCertificate } from './tls.ts';

/** Who is answered at an address. */
export interface AdmissionOptions {
  readonly isAllowed: (address: string) => boolean;
  /** The setting that says so, for messages. */
  readonly networksSetting: string;
  readonly needsClientCertificate: boolean;
  /** Undefined: as many requests as come. */
  readonly rates: RequestRates | undefined;
  /**
   * Whose credentials every request must carry. Undefined: nobody is asked for any, as at the address for mirrors,
   * where a challenge makes a Docker Engine send its Docker Hub password (moby, `registry/auth.go`).
   */
  readonly accounts: Pick<Accounts, 'authenticate'> | undefined;
}

/** Throws RequestError unless clients of this network are served here. */
export function checkNetwork({ isAllowed, networksSetting }: AdmissionOptions, { client }: Exchange): void {
  if (isAllowed(client)) return;
  throw new RequestError(403, 'DENIED', `clients from ${client} are not served (setting ${networksSetting})`);
}

/**
 * The account of who asks; undefined: there are no accounts. Throws RequestError, or rejects with it, if the request may
 * not be answered.
 */
export function admit(options: AdmissionOptions, exchange: Exchange): Promise<Account> | undefined {
  const { needsClientCertificate, rates, accounts } = options;
  const { client, request } = exchange;
  const waitSeconds = rates?.take(client);
  if (waitSeconds !== undefined) {
    const message = `too many requests from the network of ${client} (setting requestRate)`;
    throw new RequestError(429, 'TOOMANYREQUESTS', message, { 'Retry-After': String(waitSeconds) });
  }
  if (needsClientCertificate && !hasClientCertificate(request.socket)) {
    throw new RequestError(403, 'DENIED', 'a client certificate is needed here (setting tlsClientCa)');
  }
  return accounts === undefined ? undefined : authenticated(accounts, exchange);
}

async function authenticated(
  accounts: Pick<Accounts, 'authenticate'>,
  { client, request }: Exchange,
): Promise<Account> {
  const account = await accounts.authenticate(request.headers.authorization, client);
  if (typeof account === 'string') throw refusal(account);
  return account;
}

function refusal(why: Refusal): RequestError {
  // Basic alone: a Bearer challenge would send clients to a token service.
  const challenge = { 'WWW-Authenticate': 'Basic realm="pierhead"' };
  switch (why) {
    case 'missing':
      return new RequestError(401, 'UNAUTHORIZED', 'an account is needed here', challenge);
    case 'wrong':
      return new RequestError(401, 'UNAUTHORIZED', 'the user name, password or token is wrong', challenge);
    case 'busy':
      return new RequestError(503, 'UNAVAILABLE', 'too many passwords are being checked', {
        'Retry-After': '1',
      });
  }
}

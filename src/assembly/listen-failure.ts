import { formatListen, type ListenAddress } from '../config/addresses.ts';
import { errorCode } from '../lib/error-code.ts';
import { StartError } from '../lib/start-error.ts';

/** Why an address cannot be listened on, for people. `place` names the setting. */
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

import { isIP } from 'node:net';

/**
 * Whether two hosts, as URLs spell them, are of one owner as far as their names tell: the same host at any port, or
 * the same domain by its last two labels, three where those are such as `co.uk`. There is no list of public suffixes
 * here, so what many owners share (`azurecr.io`) counts as one.
 */
export function sharesDomain(host: string, other: string): boolean {
  const [one, two] = [hostnameOf(host), hostnameOf(other)];
  if (one === two) return true;
  if (isIP(one) !== 0 || isIP(two) !== 0) return false;
  const domain = domainOf(one);
  return domain.includes('.') && domain === domainOf(two);
}

function hostnameOf(host: string): string {
  return host
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase();
}

function domainOf(hostname: string): string {
  const labels = hostname.split('.');
  const [second = '', top = ''] = labels.slice(-2);
  const isSecondLevel = top.length === 2 && second.length <= 3;
  return labels.slice(isSecondLevel ? -3 : -2).join('.');
}

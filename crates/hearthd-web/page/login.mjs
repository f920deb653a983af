// The login that a QR code of `hearthd pair` brings: in the fragment of the page's address, which a browser never sends.

/** Returns account and password of a fragment such as `#u=anna&p=secret`; none where it has not both. */
export function loginOf(fragment) {
  const fields = new URLSearchParams(fragment.replace(/^#/, ''));
  const [username, password] = [fields.get('u'), fields.get('p')];
  return username && password ? { username, password } : null;
}

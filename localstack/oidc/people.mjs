// Who can log in, and through which clients. Names are roles: there is nobody behind them.
// Any other name can log in too and has no claims beyond its subject.

const groups = (...names) => ({ groups: names });

export const PEOPLE = {
  analyst: { role: 'analyst', project: 'menus', device: 'd-1', device_attested: true, ...groups('analysts') },
  clinician: { role: 'clinician', project: 'ward-3', device: 'd-7', device_attested: true, ...groups('clinic') },
  // One for each role of an operator, and one who is in no group that counts.
  'operator-viewer': groups('vestibule-viewers'),
  'operator-reviewer': groups('vestibule-reviewers'),
  'operator-provisioner': groups('vestibule-provisioners'),
  'operator-admin': groups('vestibule-admins'),
  'operator-none': groups('analysts'),
};

/** The claims that the scope `profile` gives. */
export const CLAIMS = ['role', 'project', 'device', 'device_attested', 'groups'];

// RFC 8252, 7.3: for a native client on a loopback address any port is good, which is what tests need. Only the path counts.
const loopback = {
  application_type: 'native',
  redirect_uris: ['http://127.0.0.1/', 'http://127.0.0.1/callback', 'http://localhost/', 'http://localhost/callback'],
  response_types: ['code'],
  // Nobody listens there; what is wanted is the claim `sid` that comes with it.
  backchannel_logout_uri: 'http://127.0.0.1:9/',
  backchannel_logout_session_required: true,
  // No refresh token: a page goes back to the person's session at the provider instead.
  grant_types: ['authorization_code'],
};

export const CLIENTS = [
  // A page in a browser: it holds no secret, so PKCE is all that binds the code to it.
  { ...loopback, client_id: 'analyst-page', token_endpoint_auth_method: 'none', id_token_signed_response_alg: 'ES256' },
  // The same by the name that the example manifest of where2eat lists, for whoever tries out docs/identity.md.
  { ...loopback, client_id: 'where2eat-page', token_endpoint_auth_method: 'none', id_token_signed_response_alg: 'ES256' },
  // A platform with a server of its own, and so with a secret.
  {
    ...loopback,
    client_id: 'platform',
    client_secret: 'the-platform-secret-of-the-tests',
    grant_types: ['authorization_code', 'client_credentials'],
    id_token_signed_response_alg: 'RS256',
  },
  // What operators log in with.
  { ...loopback, client_id: 'operators', token_endpoint_auth_method: 'none', id_token_signed_response_alg: 'ES256' },
];

// What a signed-in person finds at the home page, an MCP URL in a browser, and how each client is connected.
import { words } from '../../kit/language.ts'

export const serviceWords = words({
  'Public: no sign-in required. Callers are anonymous.': [
    'Öffentlich: keine Anmeldung nötig. Aufrufe sind anonym.',
    'Público: no requiere iniciar sesión. Las llamadas son anónimas.',
    'Public : aucune connexion requise. Les appels sont anonymes.',
    '公開サービス: ログインは不要です。呼び出しは匿名で行われます。',
  ],
  'Requires an account.': [
    'Ein Konto ist erforderlich.',
    'Requiere una cuenta.',
    'Un compte est requis.',
    'アカウントが必要です。',
  ],
  'Account connected.': [
    'Konto verbunden.',
    'Cuenta conectada.',
    'Compte connecté.',
    'アカウントは接続済みです。',
  ],
  'Your account needs attention.': [
    'Ihr Konto braucht Ihre Aufmerksamkeit.',
    'Su cuenta requiere atención.',
    'Votre compte demande votre attention.',
    'アカウントの確認が必要です。',
  ],
  'Your company grants access with your sign-in.': [
    'Ihr Unternehmen gewährt den Zugriff mit Ihrer Anmeldung.',
    'Su empresa concede el acceso con su inicio de sesión.',
    'Votre entreprise accorde l’accès avec votre connexion.',
    'ログインすると、会社の設定によりアクセスできます。',
  ],
  Connect: ['Verbinden', 'Conectar', 'Connecter', '接続'],
  'Manage accounts': ['Konten verwalten', 'Gestionar cuentas', 'Gérer les comptes', 'アカウントを管理'],
  Reconnect: ['Erneut verbinden', 'Volver a conectar', 'Reconnecter', '再接続'],
  'Connect a client': [
    'Client verbinden',
    'Conectar un cliente',
    'Connecter un client',
    'クライアントを接続',
  ],
  'No services yet': [
    'Noch keine Dienste',
    'Aún no hay servicios',
    'Aucun service pour l’instant',
    'サービスはまだありません',
  ],
  'To add an MCP server, an administrator runs this command on the gateway’s host, with a name and the server’s URL:':
    [
      'Um einen MCP-Server hinzuzufügen, führt die Administration diesen Befehl auf dem Rechner des Gateways aus, mit einem Namen und der URL des Servers:',
      'Para añadir un servidor MCP, un administrador ejecuta este comando en el equipo de la puerta de enlace, con un nombre y la URL del servidor:',
      'Pour ajouter un serveur MCP, un administrateur exécute cette commande sur la machine de la passerelle, avec un nom et l’URL du serveur :',
      'MCP サーバーを追加するには、管理者がゲートウェイのホストで、名前とサーバーの URL を指定して次のコマンドを実行します。',
    ],
  'The service appears here without a restart. It can also be added under {key} in the configuration.': [
    'Der Dienst erscheint hier ohne Neustart. Er kann auch in der Konfiguration unter {key} eingetragen werden.',
    'El servicio aparece aquí sin reiniciar. También se puede añadir en {key}, en la configuración.',
    'Le service apparaît ici sans redémarrage. Il peut aussi être ajouté sous {key} dans la configuration.',
    '再起動しなくても、サービスがここに表示されます。設定ファイルの {key} に追加することもできます。',
  ],
  Console: ['Konsole', 'Consola', 'Console', 'コンソール'],
  Tokens: ['Tokens', 'Tokens', 'Jetons', 'トークン'],
  'Sign out': ['Abmelden', 'Cerrar sesión', 'Se déconnecter', 'ログアウト'],
  'Add one of these URLs to your MCP client. Your browser opens so you can approve access.': [
    'Fügen Sie eine dieser URLs Ihrem MCP-Client hinzu. Ihr Browser öffnet sich, damit Sie den Zugriff erlauben können.',
    'Añada una de estas URL a su cliente MCP. Se abrirá el navegador para que apruebe el acceso.',
    'Ajoutez l’une de ces URL à votre client MCP. Votre navigateur s’ouvre pour que vous autorisiez l’accès.',
    'いずれかの URL を MCP クライアントに追加してください。ブラウザーが開き、アクセスを許可できます。',
  ],
  'Get the URL of a server by its domain': [
    'URL eines Servers anhand seiner Domain abrufen',
    'Obtener la URL de un servidor por su dominio',
    'Obtenir l’URL d’un serveur à partir de son domaine',
    'ドメインからサーバーの URL を調べる',
  ],
  '{service} is an MCP server': [
    '{service} ist ein MCP-Server',
    '{service} es un servidor MCP',
    '{service} est un serveur MCP',
    '{service} は MCP サーバーです',
  ],
  'This is an MCP endpoint, not a web page. Add the URL to an MCP client and sign in when asked.': [
    'Dies ist ein MCP-Endpunkt, keine Webseite. Fügen Sie die URL einem MCP-Client hinzu, und melden Sie sich an, wenn Sie dazu aufgefordert werden.',
    'Esto es un punto de conexión MCP, no una página web. Añada la URL a un cliente MCP e inicie sesión cuando se le pida.',
    'Ceci est un point d’accès MCP, pas une page web. Ajoutez l’URL à un client MCP et connectez-vous quand cela vous est demandé.',
    'これは MCP エンドポイントであり、ウェブページではありません。URL を MCP クライアントに追加し、求められたらログインしてください。',
  ],
  'This is an MCP endpoint, not a web page. Add the URL to an MCP client.': [
    'Dies ist ein MCP-Endpunkt, keine Webseite. Fügen Sie die URL einem MCP-Client hinzu.',
    'Esto es un punto de conexión MCP, no una página web. Añada la URL a un cliente MCP.',
    'Ceci est un point d’accès MCP, pas une page web. Ajoutez l’URL à un client MCP.',
    'これは MCP エンドポイントであり、ウェブページではありません。URL を MCP クライアントに追加してください。',
  ],

  // the URL of a server by its domain
  'For HTTP+SSE clients: {url}': [
    'Für Clients mit HTTP+SSE: {url}',
    'Para clientes HTTP+SSE: {url}',
    'Pour les clients HTTP+SSE : {url}',
    'HTTP+SSE クライアント用: {url}',
  ],
  'Add this URL to your MCP client': [
    'Fügen Sie diese URL Ihrem MCP-Client hinzu',
    'Añada esta URL a su cliente MCP',
    'Ajoutez cette URL à votre client MCP',
    'この URL を MCP クライアントに追加してください',
  ],
  'Add one of these URLs to your MCP client': [
    'Fügen Sie eine dieser URLs Ihrem MCP-Client hinzu',
    'Añada una de estas URL a su cliente MCP',
    'Ajoutez l’une de ces URL à votre client MCP',
    'いずれかの URL を MCP クライアントに追加してください',
  ],
  'No server configured for this domain': [
    'Für diese Domain ist kein Server eingerichtet',
    'No hay ningún servidor configurado para este dominio',
    'Aucun serveur n’est configuré pour ce domaine',
    'このドメインのサーバーは設定されていません',
  ],
  'Its hostname would be {host}.': [
    'Der Hostname wäre {host}.',
    'Su nombre de host sería {host}.',
    'Son nom d’hôte serait {host}.',
    'ホスト名は {host} になります。',
  ],
  'An administrator must add the server first.': [
    'Die Administration muss den Server zuerst hinzufügen.',
    'Antes, un administrador debe añadir el servidor.',
    'Un administrateur doit d’abord ajouter le serveur.',
    '先に管理者がサーバーを追加する必要があります。',
  ],
  'Get the URL of an MCP server': [
    'URL eines MCP-Servers abrufen',
    'Obtener la URL de un servidor MCP',
    'Obtenir l’URL d’un serveur MCP',
    'MCP サーバーの URL を調べる',
  ],
  'Each server has its own hostname, derived from its domain. Enter the domain from the server’s original URL.':
    [
      'Jeder Server hat einen eigenen Hostnamen, der von seiner Domain abgeleitet ist. Geben Sie die Domain aus der ursprünglichen URL des Servers ein.',
      'Cada servidor tiene su propio nombre de host, derivado de su dominio. Introduzca el dominio de la URL original del servidor.',
      'Chaque serveur a son propre nom d’hôte, dérivé de son domaine. Saisissez le domaine de l’URL d’origine du serveur.',
      '各サーバーには、ドメインから決まる専用のホスト名があります。サーバーの元の URL のドメインを入力してください。',
    ],
  'Server domain': ['Domain des Servers', 'Dominio del servidor', 'Domaine du serveur', 'サーバーのドメイン'],
  'Get URL': ['URL abrufen', 'Obtener la URL', 'Obtenir l’URL', 'URL を調べる'],

  // how each client is connected
  'Run the command, then type /mcp inside Claude Code and choose Authenticate.': [
    'Führen Sie den Befehl aus, geben Sie dann in Claude Code /mcp ein und wählen Sie „Authenticate“.',
    'Ejecute el comando; después escriba /mcp en Claude Code y elija «Authenticate».',
    'Exécutez la commande, puis saisissez /mcp dans Claude Code et choisissez « Authenticate ».',
    'コマンドを実行し、Claude Code で /mcp と入力して「Authenticate」を選択します。',
  ],
  'Open in Cursor': ['In Cursor öffnen', 'Abrir en Cursor', 'Ouvrir dans Cursor', 'Cursor で開く'],
  'Open in VS Code': ['In VS Code öffnen', 'Abrir en VS Code', 'Ouvrir dans VS Code', 'VS Code で開く'],
  'Open in LM Studio': [
    'In LM Studio öffnen',
    'Abrir en LM Studio',
    'Ouvrir dans LM Studio',
    'LM Studio で開く',
  ],
  'Install link': [
    'Installationslink',
    'Enlace de instalación',
    'Lien d’installation',
    'インストール用リンク',
  ],
  Insiders: ['Insiders', 'Insiders', 'Insiders', 'Insiders'],
  'Settings → Developer → Edit Config, add this, then restart Claude Desktop.': [
    'Öffnen Sie „Settings → Developer → Edit Config“, fügen Sie dies ein und starten Sie Claude Desktop neu.',
    'Abra «Settings → Developer → Edit Config», añada esto y reinicie Claude Desktop.',
    'Ouvrez « Settings → Developer → Edit Config », ajoutez ceci, puis redémarrez Claude Desktop.',
    '「Settings → Developer → Edit Config」にこれを追加し、Claude Desktop を再起動します。',
  ],
  'Settings → Connectors → Add custom connector.': [
    'Wählen Sie „Settings → Connectors → Add custom connector“.',
    'Elija «Settings → Connectors → Add custom connector».',
    'Choisissez « Settings → Connectors → Add custom connector ».',
    '「Settings → Connectors → Add custom connector」を選択します。',
  ],
  'Paste the MCP URL above and choose Add.': [
    'Fügen Sie die MCP-URL von oben ein und wählen Sie „Add“.',
    'Pegue la URL de MCP que aparece arriba y elija «Add».',
    'Collez l’URL MCP ci-dessus et choisissez « Add ».',
    '上の MCP の URL を貼り付け、「Add」を選択します。',
  ],
  'Choose Connect and sign in here.': [
    'Wählen Sie „Connect“ und melden Sie sich hier an.',
    'Elija «Connect» e inicie sesión aquí.',
    'Choisissez « Connect » et connectez-vous ici.',
    '「Connect」を選択し、ここでログインします。',
  ],
  'Settings → Apps & Connectors → Advanced settings: turn on Developer mode.': [
    'Schalten Sie unter „Settings → Apps & Connectors → Advanced settings“ den „Developer mode“ ein.',
    'En «Settings → Apps & Connectors → Advanced settings», active «Developer mode».',
    'Dans « Settings → Apps & Connectors → Advanced settings », activez « Developer mode ».',
    '「Settings → Apps & Connectors → Advanced settings」で「Developer mode」を有効にします。',
  ],
  'Connectors → Create, and paste the MCP URL above.': [
    'Wählen Sie „Connectors → Create“ und fügen Sie die MCP-URL von oben ein.',
    'Elija «Connectors → Create» y pegue la URL de MCP que aparece arriba.',
    'Choisissez « Connectors → Create » et collez l’URL MCP ci-dessus.',
    '「Connectors → Create」を選択し、上の MCP の URL を貼り付けます。',
  ],
  'Choose OAuth, then sign in here.': [
    'Wählen Sie „OAuth“ und melden Sie sich dann hier an.',
    'Elija «OAuth» y después inicie sesión aquí.',
    'Choisissez « OAuth », puis connectez-vous ici.',
    '「OAuth」を選択し、ここでログインします。',
  ],
})

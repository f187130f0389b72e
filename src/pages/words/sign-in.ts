// Sign-in, devices, the way back to an app, and what all pages have in common.
import { words } from '../../kit/language.ts'

export const signInWords = words({
  // all pages
  Copy: ['Kopieren', 'Copiar', 'Copier', 'コピー'],
  Copied: ['Kopiert', 'Copiado', 'Copié', 'コピーしました'],
  'Copy {what}': ['Kopieren: {what}', 'Copiar: {what}', 'Copier : {what}', 'コピー: {what}'],
  'Press Ctrl+C': ['Strg+C drücken', 'Pulse Ctrl+C', 'Appuyez sur Ctrl+C', 'Ctrl+C を押してください'],
  'Selected. Press Control C to copy.': [
    'Ausgewählt. Drücken Sie Strg+C, um zu kopieren.',
    'Seleccionado. Pulse Ctrl+C para copiar.',
    'Sélectionné. Appuyez sur Ctrl+C pour copier.',
    '選択しました。Ctrl+C を押してコピーしてください。',
  ],
  command: ['Befehl', 'comando', 'commande', 'コマンド'],
  'command for {client}': [
    'Befehl für {client}',
    'comando para {client}',
    'commande pour {client}',
    '{client} 用のコマンド',
  ],
  'configuration for {client}': [
    'Konfiguration für {client}',
    'configuración para {client}',
    'configuration pour {client}',
    '{client} 用の設定',
  ],
  'MCP URL': ['MCP-URL', 'URL de MCP', 'URL MCP', 'MCP の URL'],
  URL: ['URL', 'URL', 'URL', 'URL'],
  address: ['Adresse', 'dirección', 'adresse', 'アドレス'],
  token: ['Token', 'token', 'jeton', 'トークン'],
  reference: ['Referenz', 'referencia', 'référence', '参照番号'],
  'Signed in as {person}': [
    'Angemeldet als {person}',
    'Sesión iniciada como {person}',
    'Connecté en tant que {person}',
    '{person} としてログイン中',
  ],
  'Switch account': ['Konto wechseln', 'Cambiar de cuenta', 'Changer de compte', 'アカウントを切り替える'],
  'Connected apps': [
    'Verbundene Apps',
    'Aplicaciones conectadas',
    'Applications connectées',
    '接続済みアプリ',
  ],
  'Your services': ['Ihre Dienste', 'Sus servicios', 'Vos services', '利用できるサービス'],
  Continue: ['Weiter', 'Continuar', 'Continuer', '続ける'],
  'this computer': ['dieser Computer', 'este equipo', 'cet ordinateur', 'このコンピューター'],
  'Unnamed app': ['App ohne Namen', 'Aplicación sin nombre', 'Application sans nom', '名前のないアプリ'],
  'Registered by your administrator': [
    'Von Ihrer Administration registriert',
    'Registrada por su administrador',
    'Enregistrée par votre administrateur',
    '管理者が登録したアプリ',
  ],
  'Verified domain {host}': [
    'Verifizierte Domain {host}',
    'Dominio verificado: {host}',
    'Domaine vérifié : {host}',
    '確認済みドメイン {host}',
  ],
  'Personal access token': [
    'Persönliches Zugriffstoken',
    'Token de acceso personal',
    'Jeton d’accès personnel',
    '個人用アクセストークン',
  ],
  'Unverified. Anyone can use this name.': [
    'Nicht verifiziert. Jeder kann diesen Namen verwenden.',
    'Sin verificar. Cualquiera puede usar este nombre.',
    'Non vérifiée. N’importe qui peut utiliser ce nom.',
    '未確認です。この名前は誰でも使えます。',
  ],
  'Hidden or misleading characters were taken out of this name.': [
    'Aus diesem Namen wurden unsichtbare oder irreführende Zeichen entfernt.',
    'Se han quitado de este nombre caracteres ocultos o engañosos.',
    'Des caractères invisibles ou trompeurs ont été retirés de ce nom.',
    'この名前から、見えない文字や紛らわしい文字を取り除きました。',
  ],

  // sign-in
  'Sign in': ['Anmelden', 'Iniciar sesión', 'Se connecter', 'ログイン'],
  '{client} wants to use {service}. Sign in to continue.': [
    '{client} möchte {service} verwenden. Melden Sie sich an, um fortzufahren.',
    '{client} quiere usar {service}. Inicie sesión para continuar.',
    '{client} souhaite utiliser {service}. Connectez-vous pour continuer.',
    '{client} が {service} の利用を求めています。続けるにはログインしてください。',
  ],
  'Email address': ['E-Mail-Adresse', 'Correo electrónico', 'Adresse e-mail', 'メールアドレス'],
  'Name (optional)': ['Name (optional)', 'Nombre (opcional)', 'Nom (facultatif)', '名前(任意)'],
  'Continue with {provider}': [
    'Weiter mit {provider}',
    'Continuar con {provider}',
    'Continuer avec {provider}',
    '{provider} で続ける',
  ],
  'Last used': ['Zuletzt verwendet', 'Último uso', 'Dernier utilisé', '前回使用'],
  'Use a username and password': [
    'Benutzername und Passwort verwenden',
    'Usar nombre de usuario y contraseña',
    'Utiliser un nom d’utilisateur et un mot de passe',
    'ユーザー名とパスワードを使う',
  ],
  Username: ['Benutzername', 'Nombre de usuario', 'Nom d’utilisateur', 'ユーザー名'],
  Password: ['Passwort', 'Contraseña', 'Mot de passe', 'パスワード'],
  or: ['oder', 'o', 'ou', 'または'],
  'Open the sign-in link from the gateway’s terminal in this browser. It works once, within 15 minutes. To print a new one, run {command} ({source} in a source checkout).':
    [
      'Öffnen Sie den Anmeldelink aus dem Terminal des Gateways in diesem Browser. Er funktioniert einmal, innerhalb von 15 Minuten. Einen neuen gibt der Befehl {command} aus ({source} im Quellcode-Verzeichnis).',
      'Abra en este navegador el enlace de inicio de sesión que muestra el terminal de la puerta de enlace. Funciona una sola vez, durante 15 minutos. Para obtener uno nuevo, ejecute {command} ({source} en una copia del código fuente).',
      'Ouvrez dans ce navigateur le lien de connexion affiché dans le terminal de la passerelle. Il fonctionne une seule fois, pendant 15 minutes. Pour en obtenir un nouveau, exécutez {command} ({source} depuis les sources).',
      'ゲートウェイの端末に表示されたログインリンクを、このブラウザーで開いてください。リンクは 15 分以内に一度だけ使えます。新しいリンクは {command} で表示できます(ソースから実行している場合は {source})。',
    ],
  'Then continue there, or return here and click {link}.': [
    'Fahren Sie dann dort fort, oder kehren Sie hierher zurück und klicken Sie auf {link}.',
    'Después continúe allí, o vuelva aquí y haga clic en {link}.',
    'Continuez ensuite dans cette page, ou revenez ici et cliquez sur {link}.',
    'その後はそのページで続けるか、ここに戻って {link} をクリックしてください。',
  ],
  'No sign-in method is configured.': [
    'Es ist keine Anmeldemethode eingerichtet.',
    'No hay ningún método de inicio de sesión configurado.',
    'Aucune méthode de connexion n’est configurée.',
    'ログイン方法が設定されていません。',
  ],
  'An administrator must add an identity provider under {providers} or a user under {users} in the configuration. This command prints the password hash for a user:':
    [
      'Die Administration muss in der Konfiguration unter {providers} einen Identitätsanbieter oder unter {users} einen Benutzer eintragen. Dieser Befehl gibt den Passwort-Hash eines Benutzers aus:',
      'Un administrador debe añadir en la configuración un proveedor de identidad en {providers} o un usuario en {users}. Este comando muestra el hash de la contraseña de un usuario:',
      'Un administrateur doit ajouter dans la configuration un fournisseur d’identité sous {providers} ou un utilisateur sous {users}. Cette commande affiche le hachage du mot de passe d’un utilisateur :',
      '管理者が設定ファイルの {providers} に ID プロバイダーを、または {users} にユーザーを追加する必要があります。ユーザーのパスワードハッシュは次のコマンドで表示できます。',
    ],

  // devices
  'Connect a device': [
    'Gerät verbinden',
    'Conectar un dispositivo',
    'Connecter un appareil',
    'デバイスを接続',
  ],
  'Code on your device': [
    'Code auf Ihrem Gerät',
    'Código que muestra el dispositivo',
    'Code affiché sur l’appareil',
    'デバイスに表示されたコード',
  ],
  'This code must be on a device in front of you. If somebody sent you this link, close this page: they would get access as you.':
    [
      'Dieser Code muss auf einem Gerät stehen, das Sie vor sich haben. Wenn Ihnen jemand diesen Link geschickt hat, schließen Sie diese Seite: Die Person bekäme in Ihrem Namen Zugriff.',
      'Este código debe aparecer en un dispositivo que tenga delante. Si alguien le ha enviado este enlace, cierre esta página: obtendría acceso en su nombre.',
      'Ce code doit figurer sur un appareil que vous avez devant vous. Si quelqu’un vous a envoyé ce lien, fermez cette page : cette personne obtiendrait un accès en votre nom.',
      'このコードは、目の前にあるデバイスに表示されているものでなければなりません。誰かからこのリンクが送られてきた場合は、このページを閉じてください。その人があなたとしてアクセスできるようになってしまいます。',
    ],
  'This code must be on a device in front of you. If somebody sent you a link or a code, close this page: they would get access as you.':
    [
      'Dieser Code muss auf einem Gerät stehen, das Sie vor sich haben. Wenn Ihnen jemand einen Link oder Code geschickt hat, schließen Sie diese Seite: Die Person bekäme in Ihrem Namen Zugriff.',
      'Este código debe aparecer en un dispositivo que tenga delante. Si alguien le ha enviado un enlace o un código, cierre esta página: obtendría acceso en su nombre.',
      'Ce code doit figurer sur un appareil que vous avez devant vous. Si quelqu’un vous a envoyé un lien ou un code, fermez cette page : cette personne obtiendrait un accès en votre nom.',
      'このコードは、目の前にあるデバイスに表示されているものでなければなりません。誰かからリンクやコードが送られてきた場合は、このページを閉じてください。その人があなたとしてアクセスできるようになってしまいます。',
    ],
  'Compare this code with the one on your device. On the next page you see what asks for access, and decide.':
    [
      'Vergleichen Sie diesen Code mit dem auf Ihrem Gerät. Auf der nächsten Seite sehen Sie, wer Zugriff verlangt, und entscheiden.',
      'Compare este código con el de su dispositivo. En la página siguiente verá quién solicita el acceso y podrá decidir.',
      'Comparez ce code avec celui de votre appareil. La page suivante indique qui demande l’accès, et vous décidez.',
      'このコードを、デバイスに表示されたコードと比べてください。次のページで、アクセスを求めているアプリを確認して許可するかどうかを決めます。',
    ],
  'Enter the code that your app or terminal shows. On the next page you see what asks for access, and decide.':
    [
      'Geben Sie den Code ein, den Ihre App oder Ihr Terminal anzeigt. Auf der nächsten Seite sehen Sie, wer Zugriff verlangt, und entscheiden.',
      'Introduzca el código que muestra su aplicación o su terminal. En la página siguiente verá quién solicita el acceso y podrá decidir.',
      'Saisissez le code affiché par votre application ou votre terminal. La page suivante indique qui demande l’accès, et vous décidez.',
      'アプリまたは端末に表示されたコードを入力してください。次のページで、アクセスを求めているアプリを確認して許可するかどうかを決めます。',
    ],
  'Access granted': ['Zugriff erlaubt', 'Acceso concedido', 'Accès autorisé', 'アクセスを許可しました'],
  'Access denied': ['Zugriff abgelehnt', 'Acceso denegado', 'Accès refusé', 'アクセスを拒否しました'],
  'Access granted.': ['Zugriff erlaubt.', 'Acceso concedido.', 'Accès autorisé.', 'アクセスを許可しました。'],
  'Access denied.': ['Zugriff abgelehnt.', 'Acceso denegado.', 'Accès refusé.', 'アクセスを拒否しました。'],
  'Return to your device: {client} continues there within a few seconds. You can close this page.': [
    'Kehren Sie zu Ihrem Gerät zurück: {client} macht dort in wenigen Sekunden weiter. Sie können diese Seite schließen.',
    'Vuelva a su dispositivo: {client} continúa allí en unos segundos. Puede cerrar esta página.',
    'Revenez à votre appareil : {client} y reprend dans quelques secondes. Vous pouvez fermer cette page.',
    'デバイスに戻ってください。数秒以内に {client} が処理を続けます。このページは閉じてかまいません。',
  ],
  'You can end this access at any time in {apps}.': [
    'Sie können diesen Zugriff jederzeit unter {apps} beenden.',
    'Puede retirar este acceso en cualquier momento en {apps}.',
    'Vous pouvez mettre fin à cet accès à tout moment dans {apps}.',
    'このアクセスは {apps} でいつでも取り消せます。',
  ],
  '{client} got no access. You can close this page.': [
    '{client} hat keinen Zugriff erhalten. Sie können diese Seite schließen.',
    '{client} no ha obtenido acceso. Puede cerrar esta página.',
    '{client} n’a obtenu aucun accès. Vous pouvez fermer cette page.',
    '{client} にはアクセスを許可していません。このページは閉じてかまいません。',
  ],

  // back to the app
  'Return to {client}': ['Zurück zu {client}', 'Volver a {client}', 'Revenir à {client}', '{client} に戻る'],
  'Your browser should reopen {client}; it may ask for permission. Then you can close this page.': [
    'Ihr Browser sollte {client} wieder öffnen; er fragt eventuell um Erlaubnis. Danach können Sie diese Seite schließen.',
    'Su navegador debería volver a abrir {client}; puede que le pida permiso. Después puede cerrar esta página.',
    'Votre navigateur devrait rouvrir {client} ; il peut vous demander l’autorisation. Vous pourrez ensuite fermer cette page.',
    'ブラウザーが {client} を開きます。確認を求められることがあります。その後、このページは閉じてかまいません。',
  ],
  'A browser cannot open the redirect URI of this app safely, so nothing was sent to it. Report this to the app’s developer.':
    [
      'Ein Browser kann die Redirect-URI dieser App nicht sicher öffnen, deshalb wurde nichts an sie gesendet. Melden Sie dies dem Entwickler der App.',
      'Un navegador no puede abrir de forma segura la URI de redirección de esta aplicación, así que no se le ha enviado nada. Informe de ello al desarrollador de la aplicación.',
      'Un navigateur ne peut pas ouvrir sans risque l’URI de redirection de cette application ; rien ne lui a donc été envoyé. Signalez-le au développeur de l’application.',
      'このアプリのリダイレクト URI はブラウザーで安全に開けないため、何も送信していません。アプリの開発者に知らせてください。',
    ],
  'Paste this address into {client}': [
    'Fügen Sie diese Adresse in {client} ein',
    'Pegue esta dirección en {client}',
    'Collez cette adresse dans {client}',
    'このアドレスを {client} に貼り付けてください',
  ],
  'Paste this address': [
    'Diese Adresse einfügen',
    'Pegue esta dirección',
    'Collez cette adresse',
    'アドレスの貼り付け',
  ],
  'Go to the computer where {client} runs, and paste the address where it asks for the URL or the code. If it does not ask, open the address in a browser on that computer.':
    [
      'Gehen Sie an den Computer, auf dem {client} läuft, und fügen Sie die Adresse dort ein, wo nach der URL oder dem Code gefragt wird. Wird nicht gefragt, öffnen Sie die Adresse in einem Browser auf diesem Computer.',
      'Vaya al equipo en el que se ejecuta {client} y pegue la dirección donde le pida la URL o el código. Si no los pide, abra la dirección en un navegador de ese equipo.',
      'Sur l’ordinateur où {client} s’exécute, collez l’adresse à l’endroit où l’URL ou le code est demandé. Si rien n’est demandé, ouvrez l’adresse dans un navigateur de cet ordinateur.',
      '{client} が動いているコンピューターで、URL またはコードの入力欄にこのアドレスを貼り付けてください。入力欄がない場合は、そのコンピューターのブラウザーでアドレスを開いてください。',
    ],
  'Whoever receives this address can act as you. Do not send it to anyone. It works once, within 60 seconds.':
    [
      'Wer diese Adresse erhält, kann in Ihrem Namen handeln. Senden Sie sie niemandem. Sie funktioniert einmal, innerhalb von 60 Sekunden.',
      'Quien reciba esta dirección puede actuar en su nombre. No se la envíe a nadie. Funciona una sola vez, durante 60 segundos.',
      'Quiconque reçoit cette adresse peut agir en votre nom. Ne l’envoyez à personne. Elle fonctionne une seule fois, pendant 60 secondes.',
      'このアドレスを受け取った人は、あなたとして操作できます。誰にも送らないでください。60 秒以内に一度だけ使えます。',
    ],
})

// Annals in one resource group: everything that `function-definitions/` and the handler expect to find.
// Who may do what stands in `modules/roles.bicep`, and nowhere else.
targetScope = 'subscription'

@description('Name of the environment (azd: AZURE_ENV_NAME). Part of every name below.')
@minLength(1)
@maxLength(32)
param environmentName string

@description('Region. It must offer Flex Consumption.')
@minLength(1)
param location string

@description('How callers of the API prove who they are. `platform` needs App Service authentication, which is yours to set up.')
@allowed([
  'entra,keys'
  'entra'
  'keys'
  'platform'
])
param auth string = 'entra,keys'

@description('Client id of the app registration that callers get tokens for (docs/OPERATIONS.md, "Deploy"). Empty only where `auth` has no entra.')
param apiClientId string = ''

@description('Object ids of the first operators: users, service principals or managed identities of this directory.')
param operatorIds array = []

@description('Object id of who deploys (azd: AZURE_PRINCIPAL_ID): an operator too.')
param principalId string = ''

@description('Tenants that the queue may write to. Empty: all.')
param queueTenants array = []

@description('Hosts of private endpoints that may be the account of a tenant, where it does not bear the name of an account.')
param siloHosts array = []

@description('HTTP writes a second of one tenant on one instance.')
@minValue(1)
param writesPerSecond int = 1000

@description('HTTP reads a second of one tenant on one instance.')
@minValue(1)
param readsPerSecond int = 1000

@description('Base of the links in events, such as https://annals.example. Empty: the host name of the function app.')
param publicUrl string = ''

@description('Tracing filter of the handler. Lines above `info` are what alerts and workbook read: do not go below it.')
param logFilter string = 'info'

@description('Base URL of an OpenTelemetry collector that takes OTLP over HTTP. Empty: traces are not exported.')
param otlpEndpoint string = ''

@description('Memory of an instance in MB. The Functions host and the handler share it.')
@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int = 512

@description('Most instances at once. The more write to one partition, the more often they meet: docs/OPERATIONS.md, "Scale".')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('HTTP requests that one instance works at the same time. Each may hold a page of 4 MiB.')
@minValue(1)
@maxValue(1000)
param httpPerInstanceConcurrency int = 16

@description('Instances that are always ready: objects of `name` (http or function:<NAME>) and `instanceCount`. They are billed while they wait.')
param alwaysReady array = []

@description('Redundancy of the account that keeps the tenants.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_GZRS'
  'Standard_RAGRS'
  'Standard_RAGZRS'
])
param dataSku string = 'Standard_ZRS'

@description('Whether the function app can be reached from the internet. Its API still asks for a token.')
@allowed([
  'Enabled'
  'Disabled'
])
param appPublicNetworkAccess string = 'Enabled'

@description('Private networking: storage and Event Grid behind private endpoints, the app inside a virtual network.')
param vnetEnabled bool = false

@description('With private networking: refuse what is not on the list of outbound rules (token issuer, monitoring, virtual network).')
param denyOtherOutbound bool = false

@description('With private networking: address prefixes or one service tag of a token issuer that is not Entra ID. Empty: Entra ID alone.')
param tokenIssuerPrefixes array = []

@description('Principals (object ids of service principals or managed identities) that may put messages on the ingest queue.')
param senderPrincipalIds array = []

@description('Address that alerts are mailed to. Empty: they are shown in the portal alone.')
param alertEmail string = ''

@description('Faulted instances of one tenant from which the backlog is an alert.')
@minValue(0)
param faultedBacklog int = 20

@description('Most log volume a day in GB; what comes above it is dropped, alerts with it. 0: no cap.')
@minValue(0)
param dailyQuotaGb int = 5

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('A blob container that nobody can change or empty, for signed checkpoints.')
param checkpointsEnabled bool = false

@description('Days that a checkpoint cannot be changed or deleted.')
@minValue(1)
@maxValue(146000)
param checkpointRetentionDays int = 365

@description('A Key Vault, for the key that signs checkpoints.')
param keyVaultEnabled bool = false

@description('Name of the secret in the vault that signs checkpoints. Set it once the secret is there: a reference that leads nowhere stops checkpoints, and nothing else.')
param checkpointSecretName string = ''

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}
var directory = tenant().tenantId
var login = environment().authentication.loginEndpoint
var operatorNames = [for id in union(operatorIds, empty(principalId) ? [] : [principalId]): 'entra:${directory}:${id}']
var audiences = empty(apiClientId) ? [] : [
  'api://${apiClientId}'
  apiClientId
]
var ingestQueue = 'annals-ingest'
var publishQueue = 'annals-publish'
var checkpointContainer = 'checkpoints'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-annals-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-annals-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    alertEmail: alertEmail
    dailyQuotaGb: dailyQuotaGb
    retentionInDays: logRetentionDays
  }
}

module network 'modules/network.bicep' = if (vnetEnabled) {
  name: 'network'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    tokenIssuerPrefixes: tokenIssuerPrefixes
    denyOtherOutbound: denyOtherOutbound
  }
}

module hostStorage 'modules/storage-host.bicep' = {
  name: 'storage-host'
  scope: group
  params: {
    name: 'sthost${token}'
    location: location
    tags: tags
    publicNetworkAccess: vnetEnabled ? 'Disabled' : 'Enabled'
  }
}

module dataStorage 'modules/storage-data.bicep' = {
  name: 'storage-data'
  scope: group
  params: {
    name: 'stdata${token}'
    location: location
    tags: tags
    sku: dataSku
    publicNetworkAccess: vnetEnabled ? 'Disabled' : 'Enabled'
    ingestQueue: ingestQueue
    publishQueue: publishQueue
    workspaceId: monitoring.outputs.workspaceId
  }
}

module checkpoints 'modules/checkpoints.bicep' = if (checkpointsEnabled) {
  name: 'checkpoints'
  scope: group
  params: {
    accountName: dataStorage.outputs.name
    container: checkpointContainer
    retentionDays: checkpointRetentionDays
  }
}

module keyVault 'modules/keyvault.bicep' = if (keyVaultEnabled) {
  name: 'keyvault'
  scope: group
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    publicNetworkAccess: vnetEnabled ? 'Disabled' : 'Enabled'
  }
}

// The topic always exists: without its endpoint the functions that publish would not load.
module topic 'modules/eventgrid.bicep' = {
  name: 'eventgrid'
  scope: group
  params: {
    name: 'evgt-annals-${token}'
    location: location
    tags: tags
    publicNetworkAccess: vnetEnabled ? 'Disabled' : 'Enabled'
    workspaceId: monitoring.outputs.workspaceId
  }
}

module endpoints 'modules/endpoints.bicep' = if (vnetEnabled) {
  name: 'endpoints'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    subnetId: vnetEnabled ? network.outputs.endpointSubnetId : ''
    vnetId: vnetEnabled ? network.outputs.vnetId : ''
    hostAccountId: hostStorage.outputs.id
    dataAccountId: dataStorage.outputs.id
    topicId: topic.outputs.id
    keyVaultId: keyVaultEnabled ? keyVault.outputs.id : ''
    checkpointsEnabled: checkpointsEnabled
  }
}

module roles 'modules/roles.bicep' = {
  name: 'roles'
  scope: group
  params: {
    principalId: identity.outputs.principalId
    senderPrincipalIds: senderPrincipalIds
    hostAccountName: hostStorage.outputs.name
    dataAccountName: dataStorage.outputs.name
    ingestQueue: ingestQueue
    publishQueue: publishQueue
    topicName: topic.outputs.name
    insightsName: monitoring.outputs.insightsName
    checkpointContainer: checkpointsEnabled ? checkpoints.outputs.container : ''
    keyVaultName: keyVaultEnabled ? keyVault.outputs.name : ''
  }
}

// After the roles: the first start of the app needs them.
module app 'modules/functionapp.bicep' = {
  name: 'functionapp'
  scope: group
  dependsOn: [
    roles
    endpoints
  ]
  params: {
    token: token
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    hostAccountName: hostStorage.outputs.name
    deploymentContainer: hostStorage.outputs.deploymentContainer
    dataAccountName: dataStorage.outputs.name
    ingestQueue: ingestQueue
    publishQueue: publishQueue
    topicEndpoint: topic.outputs.endpoint
    insightsConnectionString: monitoring.outputs.insightsConnectionString
    auth: auth
    operators: join(operatorNames, ',')
    tokenIssuers: '${login}${directory}/v2.0,https://sts.windows.net/${directory}/'
    tokenAudiences: join(audiences, ',')
    jwksUrl: '${login}${directory}/discovery/v2.0/keys'
    queueTenants: join(queueTenants, ',')
    siloHosts: join(siloHosts, ',')
    writesPerSecond: writesPerSecond
    readsPerSecond: readsPerSecond
    checkpointKey: keyVaultEnabled && !empty(checkpointSecretName) ? '@Microsoft.KeyVault(SecretUri=${keyVault.outputs.uri}secrets/${checkpointSecretName})' : ''
    checkpointContainerUrl: checkpointsEnabled ? '${dataStorage.outputs.blobEndpoint}${checkpointContainer}' : ''
    publicUrl: publicUrl
    logFilter: logFilter
    otlpEndpoint: otlpEndpoint
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    httpPerInstanceConcurrency: httpPerInstanceConcurrency
    alwaysReady: alwaysReady
    publicNetworkAccess: appPublicNetworkAccess
    subnetId: vnetEnabled ? network.outputs.appSubnetId : ''
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: monitoring.outputs.actionGroupId
    topicId: topic.outputs.id
    faultedBacklog: faultedBacklog
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

@description('Region.')
output AZURE_LOCATION string = location

@description('Directory of the subscription.')
output AZURE_TENANT_ID string = directory

@description('The resource group.')
output AZURE_RESOURCE_GROUP string = group.name

@description('The function app.')
output SERVICE_ANNALS_NAME string = app.outputs.name

@description('What callers of the API get a token for.')
output ANNALS_TOKEN_RESOURCE string = empty(apiClientId) ? '' : 'api://${apiClientId}'

@description('Principal id of the identity of the app: what a silo gives a role to.')
output ANNALS_PRINCIPAL_ID string = identity.outputs.principalId

@description('Where the API answers, under /api.')
output ANNALS_URL string = app.outputs.url

@description('Queue endpoint of the data account: where senders put messages.')
output ANNALS_QUEUE_ENDPOINT string = dataStorage.outputs.queueEndpoint

@description('The queue that senders put messages on.')
output ANNALS_INGEST_QUEUE string = ingestQueue

@description('The topic that other teams subscribe to.')
output ANNALS_TOPIC string = topic.outputs.name

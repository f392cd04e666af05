// Where logs go, and who hears of an alert.

@description('Makes names unique.')
param token string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Address that alerts are mailed to, or empty.')
param alertEmail string

@description('Most log volume a day in GB; 0: no cap.')
param dailyQuotaGb int

@description('Days that logs are kept.')
param retentionInDays int

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: 'log-annals-${token}'
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: retentionInDays
    workspaceCapping: {
      dailyQuotaGb: dailyQuotaGb == 0 ? -1 : dailyQuotaGb
    }
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-annals-${token}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-annals-${token}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'annals'
    emailReceivers: empty(alertEmail) ? [] : [
      {
        name: 'operators'
        emailAddress: alertEmail
        useCommonAlertSchema: true
      }
    ]
  }
}

@description('The workspace.')
output workspaceId string = workspace.id

@description('Application Insights.')
output insightsName string = insights.name

@description('Address of Application Insights; no secret, since local authentication is off.')
output insightsConnectionString string = insights.properties.ConnectionString

@description('Who hears of an alert.')
output actionGroupId string = actionGroup.id

//! `admin order`: what was bought. The activation key is shown once and stored as a hash.

use quorate_license::{ActivationKey, OrderId, SupportId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    AdminError, order_change,
    output::{Shown, card, or_none, table},
    product,
};
use crate::{
    cli, clock, entropy,
    store::{
        Conn, Store, StoreError, customers, installations,
        orders::{self, Order, OrderKind, OrderStatus, Terms},
        products,
    },
};

pub(super) async fn run(command: cli::Order, store: &Store) -> Result<Box<dyn Shown>, AdminError> {
    match command {
        cli::Order::Add(args) => Ok(Box::new(add(args, store).await?)),
        cli::Order::List => {
            let mut tx = store.begin_read().await?;
            let now = clock::now();
            let all = orders::list(&mut tx).await?.into_iter().map(|order| View::of(order, now)).collect();
            Ok(Box::new(All(all)))
        }
        cli::Order::Show { order } => {
            let mut tx = store.begin_read().await?;
            let order = find(&mut tx, &order).await?;
            Ok(Box::new(View::of(order, clock::now())))
        }
        cli::Order::Extend { order, days, support_days } => {
            changed(order_change::extend(&order, days, support_days, store).await?)
        }
        cli::Order::Block { order } => changed(order_change::block(&order, true, store).await?),
        cli::Order::Unblock { order } => changed(order_change::block(&order, false, store).await?),
        cli::Order::Revoke { order } => changed(order_change::revoke(&order, store).await?),
    }
}

async fn add(args: cli::AddOrder, store: &Store) -> Result<Added, AdminError> {
    let terms = terms(&args)?;
    let key = ActivationKey::from_entropy(*entropy::secret());
    let order = store
        .retrying(async || -> Result<Result<Order, AdminError>, StoreError> {
            let mut tx = store.begin().await?;
            let for_support_id = match check(&mut tx, &args).await {
                Ok(for_support_id) => for_support_id,
                Err(AdminError::Store(error)) => return Err(error),
                Err(refusal) => return Ok(Err(refusal)),
            };
            let order = Order {
                order_id: orders::next_id(&mut tx).await?,
                customer: args.customer.clone(),
                product: args.product.clone(),
                terms: terms.clone(),
                activation_key_last5: key.last5(),
                for_support_id,
                revoked_at: None,
                blocked_at: None,
                created_at: clock::now(),
                usage: None,
            };
            orders::add(&mut tx, &order, &key.hash()).await?;
            tx.commit().await.map_err(StoreError::from)?;
            Ok(Ok(order))
        })
        .await??;
    Ok(Added { activation_key: key.expose(), view: View::of(order, clock::now()) })
}

/// The terms, if the flags agree with each other.
fn terms(args: &cli::AddOrder) -> Result<Terms, AdminError> {
    match (args.kind, args.days) {
        (OrderKind::Subscription, None) => return Err(AdminError::Usage("a subscription needs --days")),
        (OrderKind::Perpetual, Some(_)) => {
            return Err(AdminError::Usage("a perpetual order takes no --days"));
        }
        _ => {}
    }
    match (args.features.is_empty(), args.renews.is_empty()) {
        (false, false) => {
            return Err(AdminError::Usage("a renewal licenses nothing itself: give no --feature"));
        }
        (true, true) if args.kind == OrderKind::Subscription || args.support_days.is_none() => {
            return Err(AdminError::Usage(
                "an order has --feature; without it it --renews another, or is perpetual with --support-days",
            ));
        }
        (true, false) if args.kind == OrderKind::Perpetual => {
            return Err(AdminError::Usage("a renewal is a subscription"));
        }
        _ => {}
    }
    let mut entitlements = args.features.clone();
    entitlements.sort_by(|a, b| a.feature.cmp(&b.feature));
    if entitlements.windows(2).any(|pair| pair[0].feature == pair[1].feature) {
        return Err(AdminError::Usage("a feature is given twice"));
    }
    Ok(Terms {
        kind: args.kind,
        entitlements,
        term_days: args.days,
        support_days: args.support_days,
        activate_by: args.activate_by,
        transfers_per_year: args.transfers,
        renews: args.renews.clone(),
    })
}

/// Whether everything is there that the order names; the installation that it is for.
async fn check(conn: &mut Conn, args: &cli::AddOrder) -> Result<Option<SupportId>, AdminError> {
    if !customers::exists(conn, &args.customer).await? {
        return Err(AdminError::NoCustomer(args.customer.clone()));
    }
    let product = products::find(conn, &args.product)
        .await?
        .ok_or_else(|| AdminError::NoProduct(args.product.clone()))?;
    let missing = args.features.iter().find(|wanted| !product.features.contains(&wanted.feature));
    if let Some(wanted) = missing {
        return Err(AdminError::NoFeature {
            has: product::features(&product),
            product: product.name.clone(),
            feature: wanted.feature.clone(),
        });
    }
    let mut for_support_id = args.support_id.clone();
    for renewed in &args.renews {
        let renewed = find(conn, renewed).await?;
        if renewed.terms.kind != OrderKind::Subscription || renewed.terms.entitlements.is_empty() {
            return Err(AdminError::Usage("only a subscription with features can be renewed"));
        }
        if let Some(usage) = renewed.usage {
            if for_support_id.as_ref().is_some_and(|named| *named != usage.support_id) {
                return Err(AdminError::Usage("a renewed order is on another installation"));
            }
            for_support_id = Some(usage.support_id);
        }
    }
    if let Some(support_id) = &for_support_id
        && installations::find(conn, support_id).await?.is_none()
    {
        return Err(AdminError::NoInstallation(support_id.clone()));
    }
    Ok(for_support_id)
}

pub(super) async fn find(conn: &mut Conn, order_id: &OrderId) -> Result<Order, AdminError> {
    orders::find(conn, order_id).await?.ok_or_else(|| AdminError::NoOrder(order_id.clone()))
}

fn changed(order: Order) -> Result<Box<dyn Shown>, AdminError> {
    Ok(Box::new(View::of(order, clock::now())))
}

#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    order: Order,
    status: OrderStatus,
}

struct Added {
    activation_key: Zeroizing<String>,
    view: View,
}

struct All(Vec<View>);

impl View {
    fn of(order: Order, now: Timestamp) -> Self {
        View { status: order.status(now), order }
    }
}

impl Shown for View {
    fn text(&self) -> String {
        let Order { terms, usage, .. } = &self.order;
        card([
            ("Order", self.order.order_id.to_string()),
            ("Status", self.status.to_string()),
            ("Customer", self.order.customer.to_string()),
            ("Product", self.order.product.to_string()),
            ("Kind", terms.kind.as_str().to_owned()),
            ("Features", features(terms)),
            ("Term in days", or_none(terms.term_days)),
            ("Support in days", or_none(terms.support_days)),
            ("Transfers a year", or_none(terms.transfers_per_year)),
            ("Renews", or_none(list(&terms.renews))),
            ("Only for", or_none(self.order.for_support_id.as_ref())),
            ("Blocked", or_none(self.order.blocked_at)),
            ("Activate by", or_none(terms.activate_by)),
            ("Activation key", format!("…{}", self.order.activation_key_last5)),
            ("Added", self.order.created_at.to_string()),
            ("Revoked", or_none(self.order.revoked_at)),
            ("Support ID", or_none(usage.as_ref().map(|usage| &usage.support_id))),
            ("Activated", or_none(usage.as_ref().map(|usage| usage.activated_at))),
            ("Expires", or_none(usage.as_ref().and_then(|usage| usage.expires_at))),
            ("Support until", or_none(usage.as_ref().and_then(|usage| usage.support_until))),
        ])
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

impl Shown for Added {
    fn text(&self) -> String {
        format!(
            "{}\n\nActivation key: {}\nIt is not shown again: give it to the customer now.",
            self.view.text(),
            &*self.activation_key
        )
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        let mut value = self.view.json()?;
        value["activation_key"] = Value::String(self.activation_key.to_string());
        Ok(value)
    }
}

impl Shown for All {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|View { order, status }| {
            [
                order.order_id.to_string(),
                status.to_string(),
                order.customer.to_string(),
                order.product.to_string(),
                features(&order.terms),
                format!("…{}", order.activation_key_last5),
                or_none(order.usage.as_ref().map(|usage| &usage.support_id)),
            ]
        });
        table(["ORDER", "STATUS", "CUSTOMER", "PRODUCT", "FEATURES", "KEY", "SUPPORT ID"], rows)
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}

fn list(orders: &[OrderId]) -> Option<String> {
    (!orders.is_empty()).then(|| orders.iter().map(OrderId::as_str).collect::<Vec<_>>().join(", "))
}

fn features(terms: &Terms) -> String {
    let texts = terms.entitlements.iter().map(|e| format!("{}={}", e.feature, e.quantity));
    texts.collect::<Vec<_>>().join(", ")
}

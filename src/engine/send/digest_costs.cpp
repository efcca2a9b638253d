// SPDX-License-Identifier: Apache-2.0
#include "engine/send/digest_costs.hpp"

namespace migrate::engine {

Status DigestCosts::measure_first() {
    if (!parts_.config.negotiated.verify()) return {};
    const auto populated = [this](RegionId region, PageRange pages, auto& extents) {
        return parts_.source.population(region, pages, extents);
    };
    return meter_.measure(meter_.next_sample(), populated, parts_.core.token());
}

Status DigestCosts::measure_again() {
    const BlockSample sample = meter_.next_sample();
    const auto content = [this](RegionId region, PageRange pages, auto& extents) {
        return live_.content(region, pages, extents);
    };
    MIGRATE_TRY(meter_.measure(sample, content, parts_.core.token()));
    Status checked;
    for (std::size_t i = 0; i < parts_.source.regions().size(); ++i) {
        sample.for_each(parts_.source.regions()[i].pages(), [&](PageRange block) {
            if (checked) checked = live_.check_read(static_cast<RegionId>(i), block);
        });
    }
    MIGRATE_TRY(std::move(checked));
    expected_ = meter_.expect((live_.content_pages() + zero_pages_) * kPageSize);
    return {};
}

void DigestCosts::count() {
    if (!parts_.config.negotiated.verify()) return;
    const transport::PageCounts counts = parts_.channels.pages();
    zero_pages_ = counts.zero;
    expected_ = meter_.expect((counts.normal + counts.zero) * kPageSize);
}

}  // namespace migrate::engine
